// The page's side of its workers: what is kept offline, or not, and a worker that fails.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Engine } from "../js/engine-client.js";
import { keepOffline, whatIsKept } from "../js/offline.js";

const FOLDER = new URL("..", import.meta.url).href;

/** Do something in a browser that has these workers. */
async function withWorkers(serviceWorker, action) {
  const before = Object.getOwnPropertyDescriptor(globalThis, "navigator");
  Object.defineProperty(globalThis, "navigator", { value: { serviceWorker }, configurable: true });
  try {
    return await action();
  } finally {
    delete globalThis.navigator;
    if (before) Object.defineProperty(globalThis, "navigator", before);
  }
}

/** Ask for offline use at a server with these settings; return what was said, and what was done to workers and caches. */
async function asked(settings) {
  const done = [];
  const registration = (scope) => ({ scope, unregister: async () => done.push(`unregistered ${scope}`) });
  const serviceWorker = {
    controller: null,
    ready: Promise.resolve({ active: { postMessage() {} } }),
    register: async () => {
      done.push("registered");
      serviceWorker.controller = {};
    },
    getRegistrations: async () => [registration(FOLDER), registration("http://127.0.0.1:8000/other/")],
  };
  const { fetch } = globalThis;
  globalThis.caches = { delete: async (name) => done.push(`deleted ${name}`) };
  globalThis.fetch = async () => settings();
  try {
    return [await withWorkers(serviceWorker, keepOffline), done.sort()];
  } finally {
    globalThis.fetch = fetch;
    delete globalThis.caches;
  }
}

test("a server that wants nothing kept takes away what an earlier one kept, and the page says so", async () => {
  const [line, done] = await asked(() => Response.json({ offline: false }));
  assert.match(line, /^no: demo keeps nothing/);
  assert.deepEqual(done, [`deleted edgevit ${FOLDER}`, `unregistered ${FOLDER}`]);
});

test("every other server, and none, keep it", async () => {
  const lost = () => {
    throw new TypeError("no network");
  };
  for (const settings of [() => Response.json({ offline: true }), () => new Response("", { status: 404 }), lost]) {
    assert.deepEqual(await asked(settings), ["", ["registered"]]);
  }
});

test("what is kept is said as the worker says it, and nothing is kept without one", async () => {
  const said = (missing, here = FOLDER) => {
    const controller = {
      postMessage({ files }, [port]) {
        assert.deepEqual(files, [here, "a", "b"]);
        port.postMessage({ count: 5, missing });
      },
    };
    return withWorkers({ controller }, () => whatIsKept(["a", "b"], here));
  };
  assert.equal(await said([]), "yes: all 5 files of it are kept in this browser");
  assert.match(await said([`${FOLDER}vendor/a.wasm`, FOLDER]), /^no: of 5 files 2 could not be kept \(vendor\/a\.wasm\)/);
  assert.match(await said([FOLDER]), /^no: of 5 files 1 could not be kept \(the page itself\)/);
  assert.equal(await said([`${FOLDER}index`], `${FOLDER}index`), `no: not at this address; open ${FOLDER} for that`);
  assert.equal(await said([], `${FOLDER}?utm=1`), "yes: all 5 files of it are kept in this browser");
  assert.match(await withWorkers({ controller: null }, () => whatIsKept([], FOLDER)), /^no: /);
});

test("an answer that comes after the worker failed is nobody's", async () => {
  let worker;
  globalThis.Worker = class {
    constructor() {
      worker = this;
    }
    postMessage() {}
  };
  try {
    const engine = new Engine();
    const asked = engine.ask("classify");
    worker.onmessage({ data: { fault: "out of memory" } });
    await assert.rejects(asked, { name: "Refusal", message: /out of memory/ });
    worker.onmessage({ data: { id: 0, result: 1 } });
    const next = engine.ask("classify");
    worker.onmessage({ data: { id: 1, result: 2 } });
    assert.equal(await next, 2);
  } finally {
    delete globalThis.Worker;
  }
});
