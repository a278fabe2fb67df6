// The page: what its controls do.

import { loadBundle } from "./bundle.js";
import { startCamera } from "./camera.js";
import { Engine } from "./engine-client.js";
import { keepOffline } from "./offline.js";
import { Refusal } from "./refusal.js";
import { allow, page, percent, say, showBest, showBundle, showFacts, showLatency, showProgress, showTimes, showVerdict } from "./view.js";

const TARGETS = ["litert", "onnx"]; // those that have a file in backends/
const MEASURED_RUNS = 20;
const MOST_THREADS = 8;

const threads = Math.min(navigator.hardwareConcurrency || 1, MOST_THREADS);
let bundle;
let engine;
let times = [];
let stopCamera = null;
let shown = ""; // the object URL of the picture

/** Do something that may be refused: the line is shown, and the page goes on. */
async function attempt(action) {
  try {
    await action();
  } catch (error) {
    say(error instanceof Refusal ? error.message : `Something went wrong (${error.message}); load this page anew.`, "bad");
    if (!(error instanceof Refusal)) throw error; // a fault of ours, for the console
  } finally {
    showProgress(null);
  }
}

async function start() {
  showBest([]);
  showLatency([]);
  allow(false);
  showProgress(undefined);
  const offline = await keepOffline();
  await attempt(async () => {
    say("Loading the model ...");
    bundle = await loadBundle(new URL("bundle/", document.baseURI), TARGETS, (bytes, total) => {
      showProgress(bytes / total);
      page.progress.title = `${(bytes / 2 ** 20).toFixed(1)} of ${(total / 2 ** 20).toFixed(1)} MiB`;
    });
    showBundle(bundle);
    await offerDevices();
    showFacts({
      isolated: self.crossOriginIsolated ? "yes" : "no: the server does not send COOP and COEP, so there is one thread",
      offline: offline ? "yes, after this load" : "no: this browser keeps nothing for this page",
    });
    await open();
  });
}

async function offerDevices() {
  const ways = [["wasm 1", "WebAssembly, 1 thread"]];
  if (self.crossOriginIsolated && threads > 1) ways.unshift([`wasm ${threads}`, `WebAssembly, ${threads} threads`]);
  if (await gpu()) ways.push(["webgpu 1", "WebGPU"]);
  page.device.replaceChildren(...ways.map(([value, text]) => new Option(text, value)));
  page.device.disabled = false; // it stays so: a control that is switched off under somebody's fingers loses the keyboard
}

async function gpu() {
  try {
    return Boolean(await navigator.gpu?.requestAdapter());
  } catch {
    return false;
  }
}

/** Start a worker for what is chosen; the old one goes, since a runtime is set up once. */
async function open() {
  const [device, count] = page.device.value.split(" ");
  allow(false);
  endCamera();
  engine?.close();
  times = [];
  showLatency(times);
  showVerdict(null); // it was another runtime's
  showProgress(undefined);
  say("Starting the runtime ...");
  showFacts({ runtime: "", threads: "" });
  engine = new Engine();
  const opened = await engine.ask("open", { bundle, options: { device, threads: Number(count) } });
  const where = device === "webgpu" ? "WebGPU" : "WebAssembly";
  showFacts({ runtime: `${opened.runtime}, ${where}`, threads: device === "webgpu" ? "the GPU's" : String(opened.threads) });
  allow(true);
  say(device === "webgpu" ? "Ready. GPUs round in their own way: replay the golden data first." : "Ready. Give it a picture.");
}

/** Run a picture's file and show it. */
async function classify(file) {
  endCamera();
  URL.revokeObjectURL(shown);
  shown = URL.createObjectURL(file);
  page.picture.src = shown;
  page.picture.alt = `The picture ${file.name ?? ""}`;
  page.stage.dataset.shows = "picture";
  say("Looking at the picture ...");
  showProgress(undefined);
  const result = await engine.ask("classify", { source: file });
  showResult(result);
  const [first] = result.best;
  say(`First: ${first.label}, ${percent(first.share)}.`, "good");
}

function showResult(result) {
  showBest(result.best);
  showTimes(result.milliseconds, result);
  record([result.milliseconds.network]);
}

function record(more) {
  times.push(...more);
  showLatency(times);
}

async function toggleCamera() {
  if (stopCamera) {
    endCamera();
    say("The camera is off.");
    return;
  }
  stopCamera = await startCamera(page.video);
  page.stage.dataset.shows = "video";
  page.camera.textContent = "Stop the camera";
  page.camera.setAttribute("aria-pressed", "true");
  say("The camera is on.");
  try {
    await watch(stopCamera);
  } finally {
    endCamera();
  }
}

/** Run one frame after another, for as long as this camera is on. */
async function watch(camera) {
  while (stopCamera === camera) {
    const frame = await createImageBitmap(page.video);
    const result = await engine.ask("classify", { source: frame }, [frame]);
    if (stopCamera === camera) showResult(result);
  }
}

function endCamera() {
  if (!stopCamera) return;
  stopCamera();
  stopCamera = null;
  page.stage.dataset.shows = shown ? "picture" : "nothing";
  page.camera.textContent = "Use the camera";
  page.camera.setAttribute("aria-pressed", "false");
}

async function replay() {
  say("Replaying the golden data ...");
  showProgress(undefined);
  const result = await engine.ask("replay");
  record(result.times);
  say(showVerdict(result), result.passed && result.bounded ? "good" : "bad");
}

async function measure() {
  say(`Measuring ${MEASURED_RUNS} runs ...`);
  showProgress(undefined);
  const result = await engine.ask("measure", { runs: MEASURED_RUNS });
  record(result.times);
  say(page.latency.textContent);
}

const fileOf = (data) => [...(data?.files ?? [])][0];

page.choose.addEventListener("click", () => page.file.click());
page.file.addEventListener("change", () => {
  const [file] = page.file.files;
  if (file) attempt(() => classify(file));
  page.file.value = ""; // the same file may be chosen again
});
page.camera.addEventListener("click", () => attempt(toggleCamera));
page.replay.addEventListener("click", () => attempt(replay));
page.measure.addEventListener("click", () => attempt(measure));
page.device.addEventListener("change", () => attempt(open));
for (const name of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(name, (event) => {
    event.preventDefault(); // or the browser would leave the page for the file
    page.drop.classList.toggle("over", name === "dragover");
    const file = name === "drop" ? fileOf(event.dataTransfer) : undefined;
    if (file && !page.choose.disabled) attempt(() => classify(file));
  });
}
document.addEventListener("paste", (event) => {
  const file = fileOf(event.clipboardData);
  if (file && !page.choose.disabled) attempt(() => classify(file));
});
page.picture.addEventListener("error", () => (page.stage.dataset.shows = "nothing"));

start();
