// Registers the worker that keeps what was loaded, before the large files are asked for; or takes it away where the page's server
// wants none: `demo` serves any bundle at one address, and nothing of it shall stay in the browser.

const PATIENCE = 4000; // ms; without it the page works as well, only not offline
const FOLDER = new URL("..", import.meta.url).href;

/** Return in a sentence whether what this page loads from now on will be there without the server. */
export async function keepOffline() {
  const workers = navigator.serviceWorker;
  if (!workers) return "no: this browser keeps nothing for this page";
  try {
    if (await isUnwanted()) {
      await forget(workers);
      return "no: demo keeps nothing in the browser; the page that app web writes does";
    }
    await register(workers);
    return "yes, after this load";
  } catch {
    return "no: this browser keeps nothing for this page";
  }
}

/** A server without settings, and no server at all, want what the page wants. */
async function isUnwanted() {
  const response = await fetch(new URL("server.json", FOLDER)).catch(() => null);
  return response?.ok ? (await response.json()).offline === false : false;
}

async function forget(workers) {
  const ours = (await workers.getRegistrations()).filter(({ scope }) => scope === FOLDER);
  await Promise.all([caches.delete(`edgevit ${FOLDER}`), ...ours.map((registration) => registration.unregister())]);
}

async function register(workers) {
  if (workers.controller) return; // the browser looks for a newer one by itself
  await workers.register(new URL("service-worker.js", FOLDER), { updateViaCache: "none" });
  const registration = await within(workers.ready);
  if (workers.controller) return;
  const controlled = new Promise((resolve) => workers.addEventListener("controllerchange", resolve, { once: true }));
  registration.active.postMessage("claim");
  await within(controlled);
}

function within(promise) {
  const late = new Promise((_, reject) => setTimeout(() => reject(new Error("late")), PATIENCE));
  return Promise.race([promise, late]);
}
