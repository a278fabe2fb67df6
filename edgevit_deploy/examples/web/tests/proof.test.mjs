// What is proven of a bundle: it is held to its own comparisons, and does not grant itself a bound.

import assert from "node:assert/strict";
import { test } from "node:test";

import { judge } from "../js/outputs.js";
import { doubts } from "../js/proof.js";

const DIFF = { max_abs: 1e-6, rms: 1e-7, tolerance: { atol: 2e-6, measure: "largest" } };
const ROUNDED = { max_abs: 9, rms: 1e-3, tolerance: { atol: 2e-3, measure: "rms" } };
const GOOD = { precision: "fp32", parity: { status: "passed", diffs: [DIFF] } };
const DECISIONS = { agreeing: 995, pictures: 1000, min_agreement: 0.98 };
const INT8 = { precision: "int8", parity: { status: "passed", diffs: [ROUNDED] }, quantisation: {}, decisions: DECISIONS };
const said = (document, change = {}) => doubts({ ...document, ...change }).join("; ");
const compared = (change, diff = DIFF) => ({ parity: { status: "passed", diffs: [diff, { ...diff, ...change }] } });
const judged = (change) => ({ decisions: { ...DECISIONS, ...change } });

test("nothing is doubted of what was proven", () => {
  assert.equal(said(GOOD), "");
  assert.equal(said(INT8), "");
  assert.equal(said(GOOD, compared({ tolerance: { atol: 1e-6 } })), ""); // of schema 1: no measure, and no rms
});

test("passed is not believed where the comparisons say otherwise", () => {
  for (const change of [{ max_abs: 3e-6 }, { max_abs: 1.8e308 }, { max_abs: undefined }, { max_abs: "0" }, { tolerance: {} }]) {
    assert.match(said(GOOD, compared(change)), /^unproven: its own comparisons/, JSON.stringify(change));
  }
  for (const rms of [3e-3, null, undefined]) assert.match(said(INT8, compared({ rms }, ROUNDED)), /^unproven: its own/);
  assert.match(said(GOOD, { parity: { status: "passed", diffs: [] } }), /^unproven: .* nothing was compared/);
  assert.match(said(GOOD, { parity: { status: "built, not run", diffs: [] } }), /^unproven: .*built, not run/);
  assert.match(said(GOOD, { parity: { status: "failed\u202e", diffs: [DIFF] } }), /^unproven: its parity is "failed"$/);
});

test("decisions are judged by their interval", () => {
  assert.match(said(INT8, { decisions: null }), /^decisions not judged/);
  assert.match(said(INT8, { decisions: null, quantisation: null }), /^decisions not judged/);
  assert.match(said(INT8, judged({ agreeing: 985 })), /^unproven: it does not decide/); // its interval begins at 0.975
  for (const bad of [{ agreeing: 0, pictures: 0 }, { agreeing: 1001 }, { min_agreement: 0 }, { min_agreement: "0" }]) {
    assert.match(said(INT8, judged(bad)), /^unproven: it does not decide/, JSON.stringify(bad));
  }
});

test("a sample that was drawn is enough where it rules nothing out", () => {
  const drawn = (agreeing, of) => judged({ agreeing, pictures: 200, sample: { of } });
  assert.match(said(INT8, drawn(197, 5000)), /^decisions judged on a sample/); // 0.957 to 0.995
  assert.equal(said(INT8, drawn(200, 5000)), ""); // from 0.981
  assert.match(said(INT8, drawn(180, 5000)), /^unproven: it does not decide/); // 0.851 to 0.934
  assert.match(said(INT8, drawn(197, 200)), /^unproven: it does not decide/); // all pictures there were: give more
  const whole = (broken) => judged({ agreeing: 95, pictures: 95, broken, sample: { of: 100 } }); // 0.961 to 1
  assert.match(said(INT8, whole(4)), /^decisions judged on a sample/);
  assert.match(said(INT8, whole(undefined)), /^decisions judged on a sample/); // an earlier version's
  assert.match(said(INT8, whole(5)), /^unproven: it does not decide/); // five do not decode: again all that there were
  for (const bad of [-1, "5", NaN]) assert.match(said(INT8, whole(bad)), /^unproven: it does not decide/);
});

test("the verdict is that of the bound", () => {
  const expected = Float32Array.of(1, -2, 4);
  const off = Float32Array.of(1, -2, 4.5);
  const exact = { error: 0, bound: 4 * 2 ** -24, measure: "largest", passed: true };
  assert.deepEqual(judge(expected, expected, { atol: 0, precision: "fp32" }), exact);
  assert.equal(judge(off, expected, { atol: 0.4, precision: "bf16" }).passed, false);
  assert.equal(judge(off, expected, { atol: 0.5, precision: "bf16" }).passed, true);
  const rms = judge(off, expected, { atol: 0.3, precision: "int8" });
  assert.ok(rms.passed && rms.measure === "rms" && Math.abs(rms.error - 0.5 / Math.sqrt(3)) < 1e-12);
  for (const bad of [NaN, Infinity]) {
    assert.equal(judge(Float32Array.of(bad, -2, 4), expected, { atol: 1e9, precision: "bf16" }).passed, false);
  }
  assert.equal(judge(Float32Array.of(1, -2), expected, { atol: 1e9, precision: "bf16" }).passed, false);
});

test("no bound is wider than the precision's rules allow", () => {
  const expected = Float32Array.of(3, -4);
  const bound = (precision) => judge(expected, expected, { atol: 1e30, precision }).bound - 4 * 2 ** -24;
  const close = (found, wanted) => assert.ok(Math.abs(found - wanted) < 1e-12, `${found} is not ${wanted}`);
  for (const [precision, most] of Object.entries({ fp32: 4e-4, fp16: 0.8, bf16: 4 })) close(bound(precision), most);
  for (const precision of ["int8", "int8-dynamic", "w8", "palette8", "fp8"]) close(bound(precision), Math.sqrt(12.5));
  assert.equal(judge(Float32Array.of(3, -4.001), expected, { atol: 1e30, measure: "rms", precision: "fp32" }).passed, false);
});
