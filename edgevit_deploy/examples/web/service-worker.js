// Keeps what was loaded, so that the page works without its server. The network comes first: another bundle at the same address
// must not meet the files of an older one. It answers for the files of this page alone: something else may be served at this
// address one day.

const FOLDER = self.registration.scope;
const CACHE = `edgevit ${FOLDER}`; // js/offline.js deletes it by this name
const SHELL = [
  "./",
  "icon.svg",
  "style.css",
  "cards.css",
  "server.json",
  ...["app", "backends/litert", "backends/onnx", "bundle", "camera", "engine", "engine-client", "histogram", "manifest"].map(script),
  ...["offline", "outputs", "picture", "preprocess", "proof", "refusal", "resize", "view", "worker"].map(script),
];

const underway = new Set(); // promises of files that are being kept

function script(name) {
  return `js/${name}.js`;
}

self.addEventListener("install", (event) => {
  event.waitUntil(caches.open(CACHE).then((cache) => cache.addAll(SHELL)).then(() => self.skipWaiting()));
});

self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));

self.addEventListener("message", (event) => {
  if (event.data === "claim") event.waitUntil(self.clients.claim()); // after a reload that went past this worker
  else event.waitUntil(tell(event.ports[0], event.data.files));
});

/** Tell a page which files are not kept: of its shell, and of those that it names. What is being kept now is waited for. */
async function tell(port, files) {
  while (underway.size > 0) await Promise.all(underway);
  const cache = await caches.open(CACHE);
  const kept = new Set((await cache.keys()).map(({ url }) => url));
  const urls = [...SHELL, ...files].map((path) => new URL(path, FOLDER).href);
  const wanted = [...new Set(urls.map((url) => placeOf(url, true) ?? url))];
  port.postMessage({ count: wanted.length, missing: wanted.filter((url) => !kept.has(url)) });
}

self.addEventListener("fetch", (event) => {
  const { method, mode, url } = event.request;
  const place = method === "GET" ? placeOf(url, mode === "navigate") : null;
  if (place) event.respondWith(answer(event, place));
});

/** Return where something of this page is kept: its shell, its runtimes, its bundle; null for what is not of it. */
function placeOf(url, isVisit) {
  const { pathname, search } = new URL(url);
  if (!url.startsWith(FOLDER)) return null;
  const path = pathname.slice(new URL(FOLDER).pathname.length);
  if (isVisit && ["", "index.html"].includes(path)) return FOLDER; // one page, whatever a link to it has added
  const isOurs = SHELL.includes(path || "./") || path.startsWith("vendor/") || path.startsWith("bundle/");
  return isOurs && !search ? `${FOLDER}${path}` : null;
}

async function answer(event, place) {
  const cache = await caches.open(CACHE);
  let response;
  try {
    response = await fetch(event.request);
  } catch (error) {
    const kept = await cache.match(place, { ignoreVary: true });
    if (kept) return kept;
    throw error;
  }
  if (response.ok) {
    const keeping = keep(cache, place, response.clone()); // beside it: the page shows how far a download is
    underway.add(keeping);
    event.waitUntil(keeping.finally(() => underway.delete(keeping)));
  }
  return response;
}

async function keep(cache, place, response) {
  try {
    const isManifest = place === `${FOLDER}bundle/manifest.json`;
    const manifest = isManifest ? response.clone() : null;
    await cache.put(place, response);
    if (manifest) await dropOlder(cache, await manifest.json());
  } catch {
    await cache.delete(place); // no room for it, it broke off, or it is no manifest: nothing older shall stand for it
  }
}

/** Delete files of a bundle that lay here before this one. */
async function dropOlder(cache, { files }) {
  const folder = `${FOLDER}bundle/`;
  const named = new Set(["manifest.json", ...files.map(({ path }) => path)].map((path) => new URL(path, folder).href));
  const requests = await cache.keys();
  await Promise.all(requests.filter(({ url }) => url.startsWith(folder) && !named.has(url)).map((request) => cache.delete(request)));
}
