// Keeps what was loaded, so that the page works without its server. The network comes first: another bundle at the same address
// must not meet the files of an older one.

const CACHE = "edgevit";
const SHELL = [
  "./",
  "icon.svg",
  "style.css",
  "cards.css",
  ...["app", "backends/litert", "backends/onnx", "bundle", "camera", "engine", "engine-client", "histogram", "manifest"].map(script),
  ...["offline", "outputs", "picture", "preprocess", "refusal", "resize", "view", "worker"].map(script),
];

function script(name) {
  return `js/${name}.js`;
}

self.addEventListener("install", (event) => {
  event.waitUntil(caches.open(CACHE).then((cache) => cache.addAll(SHELL)).then(() => self.skipWaiting()));
});

self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));

self.addEventListener("message", (event) => {
  if (event.data === "claim") event.waitUntil(self.clients.claim()); // after a reload that went past this worker
});

self.addEventListener("fetch", (event) => {
  const { request } = event;
  if (request.method === "GET" && new URL(request.url).origin === self.location.origin) event.respondWith(answer(event));
});

async function answer(event) {
  let response;
  try {
    response = await fetch(event.request);
  } catch (error) {
    const kept = await caches.match(event.request, { ignoreVary: true });
    if (kept) return kept;
    throw error;
  }
  if (response.ok) event.waitUntil(keep(event.request, response.clone())); // beside it: the page shows how far a download is
  return response;
}

async function keep(request, response) {
  try {
    await (await caches.open(CACHE)).put(request, response);
  } catch {
    // no room for it: the page works as well, only not offline
  }
}
