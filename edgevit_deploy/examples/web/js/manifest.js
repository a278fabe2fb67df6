// manifest.json of a bundle, which may come from anyone: read, checked, and brought to what this app needs of it.

import { doubts, isKnown } from "./proof.js";
import { clean, Refusal } from "./refusal.js";

const MAX_SIDE = 8192;
const MAX_CLASSES = 1e6;
const MAX_PROBES = 64;
const TYPES = new Map([["tensor", "float32"], ["image", "float32"], ["uint8", "uint8"]]); // of inputs, by what they take

/**
 * Return what the app needs to know of a bundle.
 *
 * @param text of manifest.json.
 * @param targets that this app has a back end for.
 * @throws Refusal: not a manifest, or one that no app should believe.
 */
export function readManifest(text, targets) {
  const document = current(parsed(text));
  try {
    const bundle = described(document);
    check(targets.includes(bundle.target), `it is for ${bundle.target}, and this app loads ${targets.join(" and ")}`);
    return bundle;
  } catch (error) {
    if (error instanceof Refusal) throw error;
    throw refused(`a field is missing or of another kind: ${error.message}`);
  }
}

function parsed(text) {
  try {
    const document = JSON.parse(text);
    if (document !== null && typeof document === "object") return document;
  } catch {
    // said below
  }
  throw refused("manifest.json is not JSON");
}

/** Schema 1 had one output, and what was asked for stood among other things. */
function current(document) {
  if (document.schema_version === 2) return document;
  check(document.schema_version === 1, `its schema version is ${JSON.stringify(document.schema_version)}, and this app reads 1 and 2`);
  try {
    const { golden } = document;
    const [input] = document.inputs;
    const [output] = document.outputs;
    return {
      ...document,
      golden: {
        input: { name: input.name, path: golden.input_path, shape: golden.input_shape },
        outputs: [{ name: output.name, path: golden.output_path, shape: golden.output_shape }],
      },
      conversion: { takes: document.input_form, returns: document.output_form },
      parity: { ...document.parity, diffs: document.parity.diffs.map((diff) => ({ output: output.name, ...diff })) },
    };
  } catch (error) {
    throw refused(`a field is missing or of another kind: ${error.message}`);
  }
}

function described(document) {
  check(isKnown(document.precision), `its precision is ${JSON.stringify(document.precision)}, which this app does not know`);
  const files = new Map(document.files.map((file) => [file.path, recorded(file)]));
  const classes = whole(document.model.num_classes, 1, MAX_CLASSES, "classes");
  const preprocess = checkedPreprocess(document.preprocess);
  const [height, width] = preprocess.crop;
  check(document.inputs.length === 1, `it has ${document.inputs.length} inputs, and a picture is one`);
  const { takes, returns } = document.conversion;
  check(TYPES.has(takes) && ["logits", "probabilities"].includes(returns), "it does not classify pictures");
  const input = tensor(document.inputs[0], ["batch", 3, height, width], TYPES.get(takes));
  check(document.outputs.length === 1, `it has ${document.outputs.length} outputs, and classes are one`);
  const output = tensor(document.outputs[0], ["batch", classes], "float32");
  check(document.labels.count === classes, `it has ${document.labels.count} labels for ${classes} classes`);
  const golden = checkedGolden(document.golden, files, { input, output, classes, height, width });
  return {
    target: text(document.target),
    precision: document.precision,
    variant: clean(text(document.model.variant)),
    randomSeed: document.model.random_seed ?? null,
    classes,
    preprocess,
    input,
    output,
    takes,
    returns,
    model: inside(document.path, files),
    labels: inside(document.labels.path, files),
    golden,
    tolerance: tolerance(document, output.name),
    doubts: doubts(document),
  };
}

function recorded({ path, sha256, bytes }) {
  check(typeof path === "string" && isPlain(path), `the path ${JSON.stringify(path)} leaves the bundle`, "do not use this bundle");
  check(/^[0-9a-f]{64}$/.test(sha256), `${path} has no sha256`);
  return { path, sha256, bytes: whole(bytes, 0, 2 ** 31, `bytes of ${path}`) };
}

/** A path inside of the bundle, in plain POSIX form, in which nothing has another meaning to some system. */
function isPlain(path) {
  return path.split("/").every((part) => part !== "" && part !== "." && part !== "..") && !/[\\:\u0000-\u001f]/.test(path);
}

function inside(path, files) {
  check(typeof path === "string" && isPlain(path), `the path ${JSON.stringify(path)} leaves the bundle`, "do not use this bundle");
  check(files.has(path), `${path} is named but not among its files`);
  return files.get(path);
}

/** Axes that are free have a name in place of a size; one picture of the crop's size is run. */
function tensor(record, wanted, type) {
  check(record.dtype === type, `${text(record.name)} holds ${record.dtype}, and this app has ${type} for it`);
  const shape = wanted.map((size, axis) => (size === "batch" ? 1 : size));
  const fits = record.shape.length === shape.length && record.shape.every((size, axis) => typeof size === "string" || size === shape[axis]);
  check(fits, `${text(record.name)} has the shape ${JSON.stringify(record.shape)}, and one picture has ${JSON.stringify(shape)}`);
  return { name: text(record.name), shape, type };
}

function checkedPreprocess(record) {
  const sides = [...record.resize, ...record.crop].map((side) => whole(side, 1, MAX_SIDE, "pixels of a side"));
  check(sides.length === 4, "resize and crop are not heights and widths");
  check(["cover", "stretch"].includes(record.fit ?? "cover"), `fit ${JSON.stringify(record.fit)} is unknown`);
  check(["bicubic", "bilinear"].includes(record.interpolation), `interpolation ${JSON.stringify(record.interpolation)} is unknown`);
  check(record.color_order === "RGB", `its channels are ${JSON.stringify(record.color_order)}, and this app gives RGB`);
  const { mean, std, value_range } = record;
  check(numbers(mean, 3) && numbers(std, 3) && numbers(value_range, 2) && !std.includes(0), "mean, std and value_range are not numbers");
  return { ...record, fit: record.fit ?? "cover" };
}

function checkedGolden(golden, files, { input, output, classes, height, width }) {
  check(golden.outputs.length === 1 && golden.outputs[0].name === output.name, `no golden data for ${output.name}`);
  const count = whole(golden.input.shape[0], 1, MAX_PROBES, "golden inputs");
  const array = ({ path, shape }, wanted, type) => {
    const file = inside(path, files);
    check(JSON.stringify(shape) === JSON.stringify(wanted), `${path} has the shape ${JSON.stringify(shape)}, not ${JSON.stringify(wanted)}`);
    const size = (type === "uint8" ? 1 : 4) * wanted.reduce((a, b) => a * b, 1);
    check(file.bytes === size, `${path} has ${file.bytes} bytes, which is not ${type} ${JSON.stringify(wanted)}`);
    return file;
  };
  return {
    count,
    input: array(golden.input, [count, ...input.shape.slice(1)], input.type),
    output: array(golden.outputs[0], [count, classes], output.type),
  };
}

/** The bound on the given probes, of which golden data are some: the first comparison of that output at the model's own size. */
function tolerance({ parity, model }, name) {
  const same = (size) => JSON.stringify(size) === JSON.stringify(model.image_size);
  const diff = parity.diffs.find(({ output, image_size }) => output === name && same(image_size));
  if (!diff) return null; // a file that was never run has none
  const { atol } = diff.tolerance;
  check(Number.isFinite(atol) && atol >= 0, "its bound is not a number");
  return { atol };
}

/** Return the class names, one a line. */
export function readLabels(bytes, count) {
  let names;
  try {
    names = new TextDecoder("utf-8", { fatal: true }).decode(bytes).split(/\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]/);
  } catch {
    throw refused("its labels are not UTF-8 text");
  }
  if (names.at(-1) === "") names.pop();
  check(names.length === count, `it has ${names.length} labels for ${count} classes`);
  return names.map(clean);
}

function text(value) {
  if (typeof value !== "string" || value === "" || value.length > 1000) throw new TypeError("expected a name");
  return value;
}

function whole(value, least, most, what) {
  check(Number.isInteger(value) && value >= least && value <= most, `${JSON.stringify(value)} ${what}, expected ${least} to ${most}`);
  return value;
}

function numbers(values, count) {
  return Array.isArray(values) && values.length === count && values.every(Number.isFinite);
}

function check(good, what, advice) {
  if (!good) throw refused(what, advice);
}

export function refused(what, advice = "convert again, or copy the whole bundle again") {
  return new Refusal(clean(`This bundle is refused: ${what}; ${advice}.`).slice(0, 500));
}
