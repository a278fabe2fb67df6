// The page: what its controls do.

import { loadBundle } from "./bundle.js";
import { Camera } from "./camera.js";
import { Engine } from "./engine-client.js";
import { withMore } from "./histogram.js";
import { keepOffline, whatIsKept } from "./offline.js";
import { Refusal } from "./refusal.js";
import { allow, page, percent, say, showBest, showBundle, showFacts, showLatency, showProgress, showTimes, showVerdict } from "./view.js";

const TARGETS = ["litert", "onnx"]; // those that have a file in backends/
const MEASURED_RUNS = 20;
const MOST_THREADS = 8;

const threads = Math.min(navigator.hardwareConcurrency || 1, MOST_THREADS);
let bundle;
let engine;
let offline; // why nothing is kept for it; nothing where it is
let times = [];
let last = 0; // the number of the picture, or of the camera's start, whose answer is waited for
let actions = 0; // that have begun; the bar of progress is the last one's
let shown = ""; // the object URL of the picture
const camera = new Camera(page.video, showCamera);

/** Do something that may be refused: the line is shown, and the page goes on. */
async function attempt(action) {
  const mine = ++actions;
  try {
    await action();
  } catch (error) {
    say(error instanceof Refusal ? error.message : `Something went wrong (${error.message}); load this page anew.`, "bad");
    if (!(error instanceof Refusal)) throw error; // a fault of ours, for the console
  } finally {
    if (mine === actions) showProgress(null);
  }
}

async function start() {
  showBest([]);
  showLatency([]);
  allow(false);
  showProgress(undefined);
  offline = await keepOffline();
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
  camera.stop();
  engine?.close();
  times = [];
  showLatency(times);
  showVerdict(null); // it was another runtime's
  showProgress(undefined);
  say("Starting the runtime ...");
  showFacts({ runtime: "", threads: "", offline: offline || "no: not everything is loaded yet" });
  engine = new Engine();
  const opened = await engine.ask("open", { bundle, options: { device, threads: Number(count) } });
  const where = device === "webgpu" ? "WebGPU" : "WebAssembly";
  showFacts({ runtime: `${opened.runtime}, ${where}`, threads: device === "webgpu" ? "the GPU's" : String(opened.threads) });
  allow(true);
  showKept(engine, opened.files);
  say(device === "webgpu" ? "Ready. GPUs round in their own way: replay the golden data first." : "Ready. Give it a picture.");
}

/** Show whether all that the page, its bundle and the runtime in use have loaded is kept, unless that is another one by then. */
async function showKept(mine, files) {
  const line = offline || (await whatIsKept([...bundle.urls, ...files], location.href.split("#")[0]));
  if (mine === engine) showFacts({ offline: line });
}

/** Run a picture's file and show it; what an earlier one has to say is not heard any more. */
async function classify(file) {
  camera.stop();
  const mine = forget();
  URL.revokeObjectURL(shown);
  shown = URL.createObjectURL(file);
  page.picture.src = shown;
  page.picture.alt = `The picture ${file.name ?? ""}`;
  page.stage.dataset.shows = "picture";
  say("Looking at the picture ...");
  showProgress(undefined);
  try {
    const result = await engine.ask("classify", { source: file });
    if (mine !== last) return;
    showResult(result);
    sayFirst(result);
  } catch (error) {
    if (mine === last) throw error;
  }
}

/** Clear what was found, since it is of another picture, and return the number of the next. */
function forget() {
  showBest([]);
  showTimes(null);
  return ++last;
}

function showResult(result) {
  showBest(result.best);
  showTimes(result.milliseconds, result);
  record([result.milliseconds.network]);
}

function sayFirst({ best: [first] }) {
  say(`First: ${first.label}, ${percent(first.share)}.`, "good");
}

function record(more) {
  times = withMore(times, more);
  showLatency(times);
}

async function toggleCamera() {
  if (camera.wanted) {
    camera.stop();
    say("The camera is off.");
    return;
  }
  say("Starting the camera ...");
  const turn = await camera.start();
  if (!turn) return;
  forget(); // only now: where the camera is refused, the picture stays
  URL.revokeObjectURL(shown);
  shown = "";
  page.stage.dataset.shows = "video";
  showProgress(null);
  say("The camera is on.");
  try {
    await watch(turn);
  } catch (error) {
    if (camera.isTurn(turn)) throw error;
  } finally {
    camera.stop(turn);
  }
}

/** Run one frame after another, for as long as it is the camera's turn; say so when the first class is another one. */
async function watch(turn) {
  let first;
  while (camera.isTurn(turn)) {
    const frame = await createImageBitmap(page.video);
    const result = await engine.ask("classify", { source: frame }, [frame]);
    if (!camera.isTurn(turn)) return;
    showResult(result);
    if (result.best[0].label !== first) sayFirst(result);
    first = result.best[0].label;
  }
}

function showCamera(wanted) {
  if (!wanted && page.stage.dataset.shows === "video") {
    page.stage.dataset.shows = "nothing";
    forget(); // the frame that it was about is gone
  }
  page.camera.setAttribute("aria-pressed", String(wanted));
}

async function replay() {
  say("Replaying the golden data ...");
  showVerdict(null); // an earlier one says nothing of this run
  showProgress(undefined);
  let result;
  try {
    result = await engine.ask("replay");
  } catch (error) {
    showVerdict({ ran: false });
    throw error;
  }
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
