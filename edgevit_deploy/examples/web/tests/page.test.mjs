// Parts of the page that need no browser: times, pictures that a canvas does not hold, and what is kept offline.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { runInNewContext } from "node:vm";

import { binned, withMore } from "../js/histogram.js";
import { pixelsOf } from "../js/picture.js";

test("a camera may run for a day", () => {
  const many = Array.from({ length: 500_000 }, (_, place) => place % 100);
  const { bins, low, high } = binned(many);
  assert.deepEqual([low, high, bins.reduce((a, b) => a + b)], [0, 99, many.length]);
  assert.deepEqual(withMore([1], [2, 3]), [1, 2, 3]);
  const kept = withMore(many, [7]);
  assert.deepEqual([kept.length, kept.at(-1), kept[0]], [1000, 7, many.at(-999)]);
});

/** Read a picture through a canvas that gives these opacities, and no WebGL. */
async function read(opacities) {
  const data = Uint8ClampedArray.from(opacities.flatMap((opacity) => [opacity, 0, 0, opacity]));
  let closed = 0;
  const bitmap = { width: opacities.length, height: 1, close: () => closed++ };
  globalThis.OffscreenCanvas = class {
    getContext(kind) {
      return kind === "2d" ? { drawImage() {}, getImageData: () => ({ data }) } : null;
    }
  };
  try {
    return await pixelsOf(bitmap);
  } finally {
    delete globalThis.OffscreenCanvas;
    assert.equal(closed, 1);
  }
}

test("a picture that comes back empty is refused, and not taken for a black one", async () => {
  await assert.rejects(read([0, 0, 0]), { name: "Refusal", message: /^A picture of 3 x 1 pixels came back empty: it is too large/ });
  assert.equal((await read([0, 0, 128])).exact, false);
  assert.equal((await read([255, 255])).exact, true);
});

/** The service worker, with a network of {path: text} that may be cut. */
function worker(files) {
  const scope = "http://127.0.0.1:8000/app/";
  const kept = new Map();
  const cache = {
    addAll: async () => {},
    match: async (url) => kept.get(url)?.clone(),
    put: async (url, response) => {
      await files.room?.[url.replace(scope, "")];
      kept.set(url, response);
    },
    keys: async () => [...kept.keys()].map((url) => ({ url })),
    delete: async (what) => kept.delete(what.url ?? what),
  };
  const listeners = {};
  const context = {
    URL,
    caches: { open: async (name) => (name === `edgevit ${scope}` ? cache : null) },
    fetch: async ({ url }) => {
      if (!files.on) throw new TypeError("no network");
      return new Response(files[url.replace(scope, "")] ?? "other");
    },
    self: { registration: { scope }, addEventListener: (name, listener) => (listeners[name] = listener) },
  };
  runInNewContext(readFileSync(new URL("../service-worker.js", import.meta.url), "utf8"), context);
  const ask = async (path, mode = "no-cors") => {
    let answer = null;
    const waits = [];
    const request = { method: "GET", mode, url: new URL(path, scope).href };
    listeners.fetch({ request, respondWith: (response) => (answer = response), waitUntil: (wait) => waits.push(wait) });
    const response = await answer;
    await Promise.all(waits);
    return response ? response.text() : null;
  };
  const missing = async (...named) => {
    const port = {};
    const told = new Promise((resolve) => (port.postMessage = resolve));
    listeners.message({ data: { files: named.map((path) => scope + path) }, ports: [port], waitUntil() {} });
    const { count, missing } = await told;
    return { count, missing: Array.from(missing, (url) => url.replace(scope, "")) };
  };
  return { ask, missing, kept: () => [...kept.keys()].map((url) => url.replace(scope, "")).sort() };
}

test("the worker answers for this page alone, and keeps no file of an older bundle", async () => {
  const manifest = (...paths) => JSON.stringify({ files: paths.map((path) => ({ path })) });
  const files = { on: true, "bundle/manifest.json": manifest("model.onnx", "golden/a b.f32"), "bundle/model.onnx": "old" };
  const { ask, kept } = worker(files);
  for (const other of ["other.html", "api/x", "../elsewhere", "https://example.org/app/style.css", "style.css?v=1"]) {
    assert.equal(await ask(other), null, other);
  }
  for (const ours of ["./", "js/app.js", "vendor/a.wasm", "bundle/manifest.json", "bundle/model.onnx", "bundle/golden/a%20b.f32"]) {
    assert.notEqual(await ask(ours), null, ours);
  }
  assert.equal(kept().length, 6);
  files["bundle/manifest.json"] = manifest("model.tflite", "golden/a b.f32");
  await ask("bundle/manifest.json");
  const left = ["", "bundle/golden/a%20b.f32", "bundle/manifest.json", "js/app.js", "vendor/a.wasm"];
  assert.deepEqual(kept(), left);
  files.on = false;
  assert.match(await ask("bundle/manifest.json"), /model\.tflite/);
  await assert.rejects(ask("bundle/model.onnx"));
});

test("without the server the page is there at each of its addresses, and nothing else is answered with it", async () => {
  const addresses = ["./", "index.html", "?utm=1", "index.html?utm=1", "#part", "index.html?a=b#part"];
  for (const first of addresses) {
    const files = { on: true, ...Object.fromEntries(["", ...addresses].map((address) => [address, "page"])) };
    const { ask, kept } = worker(files);
    assert.equal(await ask(first, "navigate"), "page");
    assert.deepEqual(kept(), [""], "one page, however it was asked for");
    files.on = false;
    for (const address of addresses) assert.equal(await ask(address, "navigate"), "page", `${address} after ${first}`);
    for (const other of ["other.html", "index.html/x", "sub/", "sub/index.html", "../index.html", "../?utm=1"]) {
      assert.equal(await ask(other, "navigate"), null, other);
    }
    for (const file of ["?list=1", "index.html", "index.html?v=1"]) assert.equal(await ask(file, "cors"), null, file);
  }
});

test("a page that was opened where it would not be answered is not kept there", async () => {
  const { ask, missing } = worker({ on: true });
  for (const path of (await missing()).missing) await ask(path || "./", path ? "no-cors" : "navigate");
  for (const here of ["", "index.html", "?utm=1", "index.html?utm=1"]) assert.deepEqual((await missing(here)).missing, [], here);
  for (const here of ["index", "page/"]) assert.deepEqual((await missing(here)).missing, [here]);
});

test("what is not kept is told: what was never asked for, what found no room, and nothing before it is written", async () => {
  const files = { on: true, room: {} };
  const { ask, missing, kept } = worker(files);
  const shell = await missing();
  assert.equal(shell.missing.length, shell.count);
  for (const path of shell.missing) await ask(path);
  assert.deepEqual(await missing("vendor/a.wasm"), { count: shell.count + 1, missing: ["vendor/a.wasm"] });
  let write;
  files.room["vendor/a.wasm"] = new Promise((resolve) => (write = resolve));
  const asked = ask("vendor/a.wasm");
  await new Promise(setImmediate); // it has been answered, and is being written
  const told = missing("vendor/a.wasm");
  assert.equal(await Promise.race([told, new Promise((resolve) => setTimeout(resolve, 20, "waits"))]), "waits");
  write();
  await asked;
  assert.deepEqual(await told, { count: shell.count + 1, missing: [] });
  files.room["vendor/a.wasm"] = Promise.reject(new DOMException("full", "QuotaExceededError"));
  await ask("vendor/a.wasm");
  assert.deepEqual((await missing("vendor/a.wasm")).missing, ["vendor/a.wasm"], "an older one must not stand for it");
  assert.ok(!kept().includes("vendor/a.wasm"));
});
