// Manifests that nobody should believe are refused in one line. On the bundle of this app, changed in memory.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { readLabels, readManifest } from "../js/manifest.js";
import { clean } from "../js/refusal.js";

const TARGETS = ["litert", "onnx"];
const text = readFileSync(new URL("../bundle/manifest.json", import.meta.url), "utf8");
const changed = (change) => {
  const document = JSON.parse(text);
  change(document);
  return JSON.stringify(document);
};

test("the bundle of this app is taken", () => {
  const bundle = readManifest(text, TARGETS);
  assert.equal(bundle.input.shape[1], 3);
  assert.deepEqual(bundle.doubts, []);
  assert.ok(bundle.tolerance.atol > 0);
});

test("axes that are free have names", () => {
  const free = (document) => {
    document.inputs[0].shape = ["batch", 3, "height", "width"];
    document.outputs[0].shape[0] = "batch";
  };
  assert.deepEqual(readManifest(changed(free), TARGETS).input, readManifest(text, TARGETS).input);
});

test("a file that was never run has no bound", () => {
  assert.equal(readManifest(changed((document) => (document.parity.diffs = [])), TARGETS).tolerance, null);
});

test("schema 1 is read as well", () => {
  const old = (document) => {
    const { golden, conversion, parity } = document;
    document.schema_version = 1;
    document.input_form = conversion.takes;
    document.output_form = conversion.returns;
    document.golden = {
      input_path: golden.input.path,
      input_shape: golden.input.shape,
      output_path: golden.outputs[0].path,
      output_shape: golden.outputs[0].shape,
    };
    delete document.conversion;
    for (const diff of parity.diffs) delete diff.output;
  };
  assert.deepEqual(readManifest(changed(old), TARGETS), readManifest(text, TARGETS));
  const broken = (document) => {
    old(document);
    document.inputs = [];
  };
  assert.throws(() => readManifest(changed(broken), TARGETS), { name: "Refusal" });
});

const HOSTILE = {
  "another schema": [(d) => (d.schema_version = 3), /schema version is 3/],
  "no schema": [(d) => delete d.schema_version, /schema version/],
  "another precision": [(d) => (d.precision = "constructor"), /its precision is "constructor"/],
  "another target": [(d) => (d.target = "ncnn"), /it is for ncnn/],
  "a target that is a path": [(d) => (d.target = "../../x"), /it is for/],
  "a path outside": [(d) => (d.files[0].path = "../manifest.json"), /leaves the bundle; do not use/],
  "an absolute path": [(d) => (d.files[0].path = "/etc/passwd"), /leaves the bundle/],
  "another site": [(d) => (d.path = "https://example.org/model"), /leaves the bundle/],
  "a backslash": [(d) => (d.labels.path = "..\\labels.txt"), /leaves the bundle/],
  "a file that is not recorded": [(d) => (d.path = "other.onnx"), /not among its files/],
  "no hash": [(d) => (d.files[0].sha256 = ""), /no sha256/],
  "a negative size": [(d) => (d.files[0].bytes = -1), /bytes of/],
  "too many classes": [(d) => (d.model.num_classes = 1e9), /classes/],
  "labels for another model": [(d) => (d.labels.count += 1), /labels for/],
  "an absurd side": [(d) => (d.preprocess.crop = [1e6, 1e6]), /pixels of a side/],
  "another size": [(d) => (d.preprocess.crop = d.preprocess.crop.map((side) => side + 32)), /has the shape/],
  "golden data of another length": [(d) => (d.golden.input.shape[0] += 1), /has \d+ bytes|has the shape/],
  "golden outputs of another length": [(d) => (d.golden.outputs[0].shape[1] += 1), /has the shape/],
  "another filter": [(d) => (d.preprocess.interpolation = "lanczos"), /interpolation/],
  "padded pictures": [(d) => (d.preprocess.fit = "letterbox"), /fit "letterbox" is unknown/],
  "a name that every object has": [(d) => (d.preprocess.interpolation = "constructor"), /interpolation/],
  "no deviation": [(d) => (d.preprocess.std = [0, 1, 1]), /not numbers/],
  "another type": [(d) => (d.inputs[0].dtype = "float16"), /float16/],
  "bytes where floats are taken": [(d) => (d.inputs[0].dtype = "uint8"), /holds uint8, and this app has float32/],
  "floats where bytes are taken": [(d) => (d.conversion.takes = "uint8"), /holds float32, and this app has uint8/],
  "golden floats where bytes are taken": [(d) => (d.inputs[0].dtype = d.conversion.takes = "uint8"), /bytes, which is not uint8/],
  "a kind of input that every object has": [(d) => (d.conversion.takes = "constructor"), /does not classify/],
  "features": [(d) => (d.conversion.returns = "features"), /does not classify/],
  "a bound that is none": [(d) => (d.parity.diffs[0].tolerance.atol = null), /bound is not a number/],
  "a list in place of an object": [(d) => (d.model = []), /classes/],
  "a field of another kind": [(d) => (d.files = "all"), /another kind/],
};

for (const [name, [change, line]] of Object.entries(HOSTILE)) {
  test(`refused: ${name}`, () => {
    assert.throws(
      () => readManifest(changed(change), TARGETS),
      (error) => error.name === "Refusal" && line.test(error.message) && !error.message.includes("\n"),
    );
  });
}

for (const bad of ["", "{", "null", "[]", "7", '"text"']) {
  test(`refused: ${bad || "nothing"}`, () => assert.throws(() => readManifest(bad, TARGETS), { name: "Refusal" }));
}

test("labels are text, without what a terminal or a reader would obey", () => {
  const bytes = new TextEncoder().encode("<img src=x onerror=alert(1)>\r\na\u0007b\u202ec\nlast\n");
  assert.deepEqual(readLabels(bytes, 3), ["<img src=x onerror=alert(1)>", "a b c", "last"]);
  assert.throws(() => readLabels(bytes, 2), { name: "Refusal" });
  assert.throws(() => readLabels(Uint8Array.of(0xff, 0xfe), 1), { name: "Refusal" });
  assert.equal(clean("a\nb"), "a b");
  assert.equal(readManifest(changed((d) => (d.model.variant = "edgevit\u202excod.exe")), TARGETS).variant, "edgevit xcod.exe");
});
