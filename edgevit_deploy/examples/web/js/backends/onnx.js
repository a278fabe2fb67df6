// ONNX Runtime Web: WebAssembly on one thread or several, or WebGPU.

const RUNTIME = new URL("../../vendor/onnxruntime-web/", import.meta.url).href;

/**
 * Load a model.
 *
 * @param bundle as `loadBundle` gives it.
 * @param options {device: "wasm" or "webgpu", threads}
 * @returns {runtime, threads, files: URLs that were loaded for it, run(pixels) -> Promise of Float32Array}
 */
export async function open(bundle, { device, threads }) {
  const gpu = device === "webgpu";
  const script = gpu ? "ort.webgpu.min.mjs" : "ort.wasm.min.mjs";
  const compiled = `ort-wasm-simd-threaded${gpu ? ".asyncify" : ""}`;
  const ort = await import(`${RUNTIME}${script}`);
  ort.env.wasm.wasmPaths = RUNTIME; // absolute: a relative one is taken from the script, not from the page
  ort.env.wasm.numThreads = threads;
  const { modelBytes, input, output } = bundle;
  // [snippet: load]
  const session = await ort.InferenceSession.create(modelBytes, { executionProviders: [device] });
  const run = async (pixels) => {
    const results = await session.run({ [input.name]: new ort.Tensor(input.type, pixels, input.shape) });
    return results[output.name].data;
  };
  // [end]
  const files = [script, `${compiled}.mjs`, `${compiled}.wasm`].map((name) => `${RUNTIME}${name}`);
  return { runtime: `ONNX Runtime Web ${ort.env.versions.web}`, threads: ort.env.wasm.numThreads, files, run };
}
