// A classic worker, because LiteRT.js loads its runtime with importScripts, which a module worker has not.
// What arrives before the modules are there waits.
const early = [];
self.onmessage = (event) => early.push(event);
import("./engine.js").then(
  ({ answer }) => {
    self.onmessage = answer;
    early.forEach(answer);
  },
  (error) => self.postMessage({ fault: String(error) }),
);
