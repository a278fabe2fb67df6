// LiteRT.js: WebAssembly (XNNPACK) on one thread or several, or WebGPU.

const RUNTIME = new URL("../../vendor/litert/", import.meta.url).href;
const VERSION = "2.5.3"; // it does not say itself; a test holds this to package.json

/**
 * Load a model.
 *
 * @param bundle as `loadBundle` gives it.
 * @param options {device: "wasm" or "webgpu", threads}
 * @returns {runtime, threads, files: URLs that were loaded for it, run(pixels) -> Promise of Float32Array}
 */
export async function open(bundle, { device, threads }) {
  const { loadAndCompile, loadLiteRt, Tensor } = await import(`${RUNTIME}index.js`);
  // In a worker its loader would look for its files beside the worker's own script.
  const script = `${RUNTIME}wasm/litert_wasm_threaded_internal.js`;
  const files = new Set([`${RUNTIME}index.js`, `${RUNTIME}bundle.js`]);
  const locateFile = (name) => {
    const url = `${RUNTIME}wasm/${name}`; // of the build that it chose for this browser
    files.add(url).add(url.replace(/\.wasm$/, ".js"));
    return url;
  };
  self.Module = { locateFile, mainScriptUrlOrBlob: script, printErr };
  await loadLiteRt(`${RUNTIME}wasm/`, { threads: threads > 1 });
  const { modelBytes, input, output } = bundle;
  // [snippet: load]
  const options = { accelerator: device, cpuOptions: { numThreads: threads }, gpuOptions: { precision: "fp32" } };
  const model = await loadAndCompile(modelBytes, options);
  const run = async (pixels) => {
    const given = new Tensor(pixels, input.shape);
    const { [output.name]: result } = await model.run({ [input.name]: given });
    const values = new Float32Array(await result.data()); // a copy: tensors are not collected, but deleted
    given.delete();
    result.delete();
    return values;
  };
  // [end]
  const used = model.options.accelerator;
  if (used !== device) throw new Error(`it runs on ${used}, not on ${device}`);
  return { runtime: `LiteRT.js ${VERSION}`, threads, files: [...files], run };
}

/** Its log goes to stderr, all of it; what is no error is not shown as one. */
function printErr(line) {
  (/^(INFO|WARNING|VERBOSE)/.test(line) ? console.debug : console.error)(line);
}
