// What the numbers of a network mean: classes, probabilities, and whether they are those of the bundle.

import { measureOf, mostAllowed } from "./proof.js";
import { Refusal } from "./refusal.js";

const HALF_ULP = 2 ** -24; // golden outputs are float64 rounded to float32: each may be off by this share of itself

/** Return places of the largest outputs, the largest first; of equal ones the lower place first. */
export function top(values, count = 5) {
  checkFinite(values);
  const places = Array.from(values, (_, place) => place);
  return places.sort((a, b) => values[b] - values[a] || a - b).slice(0, count);
}

/** Return probabilities in double; what a file with a softmax inside returns is taken as it is. */
export function probabilities(values, returns) {
  checkFinite(values);
  if (returns === "probabilities") return Float64Array.from(values);
  const largest = values.reduce((a, b) => Math.max(a, b), -Infinity);
  const powers = Float64Array.from(values, (value) => Math.exp(value - largest));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((power) => power / sum);
}

function checkFinite(values) {
  if (!values.every(Number.isFinite)) throw new Refusal("the network's outputs are not finite numbers; choose another way to run it");
}

/**
 * Compare outputs with what they must be, all golden inputs together.
 *
 * @param atol the bound on record; no more of it is believed than the precision's rules allow.
 * @returns {error, bound, measure, passed}
 */
export function judge(outputs, expected, { atol, precision }) {
  let largest = 0;
  let squares = 0;
  let scale = 0;
  let expectedSquares = 0;
  for (let place = 0; place < expected.length; place++) {
    const difference = Math.abs(outputs[place] - expected[place]);
    largest = difference > largest || Number.isNaN(difference) ? difference : largest; // NaN stays: nothing is above it
    squares += difference * difference;
    scale = Math.max(scale, Math.abs(expected[place]));
    expectedSquares += expected[place] * expected[place];
  }
  const most = mostAllowed(precision, scale, Math.sqrt(expectedSquares / expected.length));
  const bound = Math.min(atol, most) + HALF_ULP * scale;
  const measure = measureOf(precision);
  const measured = measure === "rms" ? Math.sqrt(squares / expected.length) : largest;
  const error = outputs.length === expected.length && Number.isFinite(measured) ? measured : Infinity;
  return { error, bound, measure, passed: error <= bound };
}
