// What is proven of a bundle, and how far its outputs may be off. A bundle may come from anyone: what it says of itself is held to
// its own comparisons, and no bound is wider than the converter's own rules allow.

import { clean } from "./refusal.js";

const QUANTISED = ["int8", "int8-dynamic", "w8", "palette8", "fp8"];
const NOISE_CEILING = { fp32: 1e-5, fp16: 2e-2, bf16: 1e-1, quantised: 0.5 }; // shares of the outputs that rounding may move
const MAX_K = 10; // no target of the converter may be farther from the truth than so many times that
const GOLDEN_K = 2; // the same for the golden data of a quantised file
const Z_95 = 1.959963984540054;

export function isKnown(precision) {
  return QUANTISED.includes(precision) || ["fp32", "fp16", "bf16"].includes(precision);
}

/** What of the differences is bounded: the largest, or the root of their mean square. */
export function measureOf(precision) {
  return QUANTISED.includes(precision) ? "rms" : "largest";
}

/** The widest bound for golden outputs of which these are the largest and the root mean square. */
export function mostAllowed(precision, largest, rms) {
  return measureOf(precision) === "rms" ? GOLDEN_K * NOISE_CEILING.quantised * rms : MAX_K * NOISE_CEILING[precision] * largest;
}

/** What was not proven of the file, for the banner. */
export function doubts({ parity, decisions, quantisation, precision }) {
  const found = [];
  const { status, diffs } = parity;
  if (!diffs.every(isWithin)) found.push("unproven: its own comparisons with PyTorch are not within their bounds");
  else if (status === "passed" && diffs.length === 0) found.push("unproven: it says that it passed, and nothing was compared");
  else if (status !== "passed") found.push(`unproven: its parity is "${clean(String(status))}"`);
  const judged = decisions ? judgement(decisions) : "";
  if (judged === "failed") found.push("unproven: it does not decide as the network it was made from");
  if (judged === "sampled") {
    found.push("decisions judged on a sample, which neither shows nor rules out that it decides as the network it was made from");
  }
  if ((quantisation || QUANTISED.includes(precision)) && !decisions) {
    found.push("decisions not judged: nobody asked whether its rounding changes the first class");
  }
  return found;
}

function isWithin({ max_abs, rms, tolerance: { atol, measure = "largest" } }) {
  const error = measure === "rms" ? rms : max_abs;
  return Number.isFinite(error) && Number.isFinite(atol) && error <= atol;
}

/**
 * "passed": the lower end of the 95 % interval of the agreement reaches what was asked for. "sampled": it does not, but the upper
 * end does, and the pictures were drawn from more, as many as an evaluation allows. "failed" otherwise. What could not be decoded
 * was taken too: nobody can judge more of a folder than all of it.
 */
function judgement({ agreeing, pictures, min_agreement, broken = 0, sample }) {
  if (![agreeing, pictures, min_agreement, broken].every(Number.isFinite)) return "failed";
  if (agreeing > pictures || broken < 0 || !(min_agreement > 0)) return "failed";
  const [low, high] = wilson(agreeing, pictures);
  if (low >= min_agreement) return "passed";
  return sample && sample.of > pictures + broken && high >= min_agreement ? "sampled" : "failed"; // not a number, of nothing, is no end
}

function wilson(count, of) {
  const share = count / of;
  const spread = Z_95 ** 2 / of;
  const half = Math.sqrt(share * (1 - share) * spread + spread ** 2 / 4);
  return [(share + spread / 2 - half) / (1 + spread), (share + spread / 2 + half) / (1 + spread)];
}
