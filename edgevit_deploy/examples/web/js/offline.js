// Registers the worker that keeps what was loaded, before the large files are asked for.

const PATIENCE = 4000; // ms; without it the page works as well, only not offline

/** Return whether what this page loads from now on will be there without the server. */
export async function keepOffline() {
  if (!navigator.serviceWorker) return false;
  if (navigator.serviceWorker.controller) return true; // the browser looks for a newer one by itself
  try {
    await navigator.serviceWorker.register(new URL("../service-worker.js", import.meta.url), { updateViaCache: "none" });
    const registration = await within(navigator.serviceWorker.ready);
    if (!navigator.serviceWorker.controller) {
      const controlled = new Promise((resolve) => navigator.serviceWorker.addEventListener("controllerchange", resolve, { once: true }));
      registration.active.postMessage("claim");
      await within(controlled);
    }
    return true;
  } catch {
    return false;
  }
}

function within(promise) {
  const late = new Promise((_, reject) => setTimeout(() => reject(new Error("late")), PATIENCE));
  return Promise.race([promise, late]);
}
