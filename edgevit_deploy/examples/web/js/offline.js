// Registers the worker that keeps what was loaded, before the large files are asked for; or takes it away where the page's server
// wants none: `demo` serves any bundle at one address, and nothing of it shall stay in the browser.

const PATIENCE = 4000; // ms; without it the page works as well, only not offline
const TO_KEEP = 60000; // ms, until large files are written
const LATE = "this page was not kept within 4 s, for a slow network or a file that is missing; load it anew";
const FOLDER = new URL("..", import.meta.url).href;

/** Let what this page loads from now on be kept; return in a sentence why it is not, or nothing. */
export async function keepOffline() {
  const workers = navigator.serviceWorker;
  if (!workers) return "no: this browser keeps nothing for this page";
  try {
    if (await isUnwanted()) {
      await forget(workers);
      return "no: demo keeps nothing in the browser; the page that app web writes does";
    }
    await register(workers);
    return "";
  } catch (error) {
    return `no: ${error instanceof Late ? error.message : "this browser keeps nothing for this page"}`;
  }
}

/**
 * Say whether everything is kept that works without the server: the page at the URL where it was opened, and files (URLs) of its
 * bundle and its runtime.
 */
export async function whatIsKept(files, here) {
  const { port1, port2 } = new MessageChannel();
  const answer = new Promise((resolve) => (port1.onmessage = ({ data }) => resolve(data)));
  try {
    navigator.serviceWorker.controller.postMessage({ files: [here, ...files] }, [port2]);
    const { count, missing } = await within(answer, TO_KEEP, "what is kept was not said within a minute");
    if (missing.length === 0) return `yes: all ${count} files of it are kept in this browser`;
    if (here !== FOLDER && missing.includes(here)) return `no: not at this address; open ${FOLDER} for that`;
    const first = missing[0].replace(FOLDER, "") || "the page itself";
    return `no: of ${count} files ${missing.length} could not be kept (${first}); load this page anew, or free some space`;
  } catch (error) {
    return `no: ${error instanceof Late ? error.message : "this browser has given up what keeps this page"}`;
  } finally {
    port1.close();
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
  const registration = await within(workers.ready, PATIENCE, LATE);
  if (workers.controller) return;
  const controlled = new Promise((resolve) => workers.addEventListener("controllerchange", resolve, { once: true }));
  registration.active.postMessage("claim");
  await within(controlled, PATIENCE, LATE);
}

class Late extends Error {}

async function within(promise, milliseconds, otherwise) {
  let timer;
  const late = new Promise((_, reject) => (timer = setTimeout(() => reject(new Late(otherwise)), milliseconds)));
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
