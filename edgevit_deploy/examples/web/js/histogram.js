// How long the network took, run by run: bars, the median and the 95th percentile.

const KEPT = 1000; // runs; a camera gives some every second, for hours
const BINS = 24;
const WIDTH = 480;
const HEIGHT = 120;

/** Return times with more of them, of which the last are kept. */
export function withMore(times, more) {
  return [...times, ...more].slice(-KEPT);
}

/** Return the value that a share of the sorted values lies at or below (nearest rank). */
export function percentile(sorted, share) {
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)];
}

/** Return {bins, low, high}: how many values fall into each of equal parts from the smallest to the largest. */
export function binned(values) {
  let low = Infinity;
  let high = -Infinity;
  for (const value of values) {
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  const bins = new Array(BINS).fill(0);
  for (const value of values) bins[high === low ? 0 : Math.min(BINS - 1, Math.floor(((value - low) / (high - low)) * BINS))]++;
  return { bins, low, high };
}

/** Draw times in ms into an <svg>, and return what they are in a sentence, and both ends of the axis; nothing of no times. */
export function drawHistogram(svg, times) {
  svg.replaceChildren();
  svg.setAttribute("aria-label", "no run yet");
  if (times.length === 0) return {};
  const sorted = Float64Array.from(times).sort();
  const median = percentile(sorted, 0.5);
  const p95 = percentile(sorted, 0.95);
  const { bins, low, high } = binned(times);
  const most = Math.max(...bins);
  const at = (value) => (high === low ? 0.5 / BINS : (value - low) / (high - low)) * WIDTH;
  const bars = bins.map((count, bin) => {
    const height = (count / most) * (HEIGHT - 4);
    return shape("rect", { class: "bar", x: (bin * WIDTH) / BINS + 1, y: HEIGHT - height, width: WIDTH / BINS - 2, height });
  });
  const line = (name, value) => shape("line", { class: name, x1: at(value), x2: at(value), y1: 0, y2: HEIGHT });
  svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  svg.append(...bars, line("median", median), line("p95", p95));
  const runs = times.length === KEPT ? `last ${KEPT} runs` : `${times.length} ${times.length === 1 ? "run" : "runs"}`;
  const sentence = `${runs}: median ${inMs(median)}, p95 ${inMs(p95)}`;
  svg.setAttribute("aria-label", `${sentence}, from ${inMs(low)} to ${inMs(high)}`);
  return { sentence, low: inMs(low), high: inMs(high) };
}

export function inMs(value) {
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`;
}

function shape(name, attributes) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}
