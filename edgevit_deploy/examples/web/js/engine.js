// The worker's side: everything that takes long, so that the page stays alive.

import { judge, probabilities, top } from "./outputs.js";
import { pixelsOf } from "./picture.js";
import { preprocess } from "./preprocess.js";
import { Refusal } from "./refusal.js";

const TASKS = { open, classify, replay, measure };

let bundle;
let backend;
let turn = Promise.resolve(); // a runtime does one thing at a time

/** Do the task of a message after those before it. */
export function answer({ data }) {
  turn = turn.then(() => done(data));
}

/** Post a task's result, or one line that says what is wrong. */
async function done({ id, task, given }) {
  try {
    self.postMessage({ id, result: await TASKS[task](given) });
  } catch (error) {
    self.postMessage({ id, line: error instanceof Refusal ? error.message : `${task}: ${firstLine(error)}` });
  }
}

function firstLine(error) {
  return String(error?.message ?? error).split("\n")[0].slice(0, 300);
}

async function open(given) {
  bundle = given.bundle;
  const module = await import(`./backends/${bundle.target}.js`); // readManifest lets only targets through that have one
  try {
    backend = await module.open(bundle, given.options);
  } catch (error) {
    throw new Refusal(`The runtime could not load the model (${firstLine(error)}); choose another way to run it.`);
  }
  return { runtime: backend.runtime, threads: backend.threads, files: backend.files };
}

/** Of a picture's file or a frame: the best classes, and how long decoding, preprocessing and the network took. */
async function classify({ source }) {
  const start = performance.now();
  const picture = await pixelsOf(source);
  const decoded = performance.now();
  const input = preprocess(picture, bundle.preprocess, bundle.takes);
  const prepared = performance.now();
  const { outputs, milliseconds } = await timed(input);
  const shares = probabilities(outputs, bundle.returns);
  return {
    best: top(outputs).map((place) => ({ label: bundle.labelNames[place], share: shares[place] })),
    width: picture.width,
    height: picture.height,
    exact: picture.exact,
    milliseconds: { decode: decoded - start, preprocess: prepared - decoded, network: milliseconds },
  };
}

/** Run the golden inputs and hold the outputs to what they must be. */
async function replay() {
  const size = bundle.goldenInput.length / bundle.golden.count;
  const outputs = new Float32Array(bundle.goldenOutput.length);
  const times = [];
  for (let number = 0; number < bundle.golden.count; number++) {
    const run = await timed(bundle.goldenInput.slice(number * size, (number + 1) * size));
    outputs.set(run.outputs, number * bundle.classes);
    times.push(run.milliseconds);
  }
  const { precision, tolerance } = bundle;
  const verdict = judge(outputs, bundle.goldenOutput, { atol: tolerance?.atol ?? 0, precision });
  return { ...verdict, bounded: tolerance !== null, times };
}

/** Time the network alone, on the first golden input. */
async function measure({ runs }) {
  const input = bundle.goldenInput.slice(0, bundle.goldenInput.length / bundle.golden.count);
  const times = [];
  for (let number = 0; number < runs; number++) times.push((await timed(input)).milliseconds);
  return { times };
}

async function timed(input) {
  const start = performance.now();
  const outputs = await backend.run(input);
  const milliseconds = performance.now() - start;
  if (outputs.length !== bundle.classes) throw new Refusal(`The model gave ${outputs.length} numbers for ${bundle.classes} classes; convert again.`);
  return { outputs, milliseconds };
}
