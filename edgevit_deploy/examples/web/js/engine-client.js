// The page's side of the worker: one task after another, each a promise.

import { Refusal } from "./refusal.js";

export class Engine {
  #worker;
  #waiting = new Map();
  #next = 0;

  constructor() {
    this.#worker = new Worker(new URL("worker.js", import.meta.url));
    this.#worker.onmessage = ({ data }) => this.#settle(data);
    this.#worker.onerror = (event) => this.#fail(event.message || "the worker could not be started");
  }

  /** Do a task in the worker; the promise is rejected with a Refusal that holds the line to show. */
  ask(task, given = {}, transfer = []) {
    return new Promise((resolve, reject) => {
      const id = this.#next++;
      this.#waiting.set(id, { resolve, reject });
      this.#worker.postMessage({ id, task, given }, transfer);
    });
  }

  /** End it; what is still asked of it is answered by nobody. */
  close() {
    this.#worker.terminate();
    this.#waiting.clear();
  }

  #settle({ id, result, line, fault }) {
    if (fault) return this.#fail(fault);
    const asked = this.#waiting.get(id);
    if (!asked) return; // it was rejected already, when the worker failed
    const { resolve, reject } = asked;
    this.#waiting.delete(id);
    return line === undefined ? resolve(result) : reject(new Refusal(line));
  }

  #fail(reason) {
    for (const { reject } of this.#waiting.values()) reject(new Refusal(`The runtime stopped (${reason}); load this page anew.`));
    this.#waiting.clear();
  }
}
