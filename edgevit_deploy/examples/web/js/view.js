// What stands on the page. Everything from a bundle goes through textContent: it is text, whatever it looks like.

import { drawHistogram, inMs } from "./histogram.js";

const ROWS = 5;

/** The elements that have an id, by its name in camel case. */
export const page = Object.fromEntries(
  [...document.querySelectorAll("[id]")].map((element) => [element.id.replace(/-(\w)/g, (_, letter) => letter.toUpperCase()), element]),
);

/** Say what goes on; screen readers hear it. */
export function say(text, kind = "") {
  page.status.textContent = text;
  page.status.className = kind;
}

/** Show a bar of bytes; without a number, one that only moves. */
export function showProgress(share) {
  page.progress.hidden = share === null;
  if (share === undefined) page.progress.removeAttribute("value");
  else if (share !== null) page.progress.value = share;
}

export function showBundle(bundle) {
  const name = bundle.variant.replace(/^edgevit_/, "EdgeViT ").replace(/(xxs|xs|s)\b/, (size) => size.toUpperCase());
  page.title.textContent = name;
  document.title = `${name} in this browser`;
  page.subtitle.textContent = `${bundle.target} ${bundle.precision}, ${bundle.classes} classes, ${bundle.preprocess.crop[1]} x ${bundle.preprocess.crop[0]} pixels`;
  const lines = [...bundle.doubts];
  if (bundle.randomSeed !== null) lines.unshift("Random weights: it classifies nothing");
  page.doubts.className = lines.length ? "warn" : "";
  if (lines.length === 0) lines.push("Proven where it was converted; the golden data show whether it is so here");
  page.doubts.replaceChildren(...lines.map((line) => withText("li", `${line[0].toUpperCase()}${line.slice(1)}.`)));
}

/** Show classes with their shares; without any, five empty rows of the same height. */
export function showBest(best) {
  const rows = Array.from({ length: Math.max(ROWS, best.length) }, (_, place) => row(best[place]));
  page.best.replaceChildren(...rows);
}

function row(found) {
  const item = document.createElement("li");
  const label = withText("span", found?.label ?? "\u00a0", "label");
  label.dir = "auto";
  if (found) label.title = found.label;
  const bar = document.createElement("span");
  bar.className = "bar";
  bar.setAttribute("aria-hidden", "true");
  const fill = document.createElement("span");
  fill.style.width = `${100 * (found?.share ?? 0)}%`;
  bar.append(fill);
  item.append(label, withText("span", found ? percent(found.share) : "", "share"), bar);
  return item;
}

export function percent(share) {
  return `${(100 * share).toFixed(share < 0.0005 && share > 0 ? 4 : 1)} %`;
}

/** Show how long a picture took; nothing of no picture. */
export function showTimes(milliseconds, { width, height, exact } = {}) {
  if (!milliseconds) {
    page.times.textContent = "\u00a0";
    return;
  }
  const { decode, preprocess, network } = milliseconds;
  const lost = exact ? "" : "; this browser lost colours of see-through pixels";
  page.times.textContent = `${width} x ${height} pixels: decoding ${inMs(decode)}, resizing ${inMs(preprocess)}, network ${inMs(network)}${lost}`;
}

/** Show the verdict on the golden data; without one, that nothing was replayed yet; `ran: false` is of a run that was broken off. */
export function showVerdict(result) {
  if (!result || result.ran === false) {
    page.verdict.textContent = result ? "FAILED" : "not run yet";
    page.verdict.className = result ? "verdict failed" : "verdict";
    for (const place of [page.goldenError, page.goldenBound, page.goldenMeasure]) place.textContent = "\u00a0";
    if (result) page.goldenError.textContent = "did not run";
    return "";
  }
  const { error, bound, measure, passed, bounded } = result;
  const what = measure === "rms" ? "root mean square of the differences" : "largest difference";
  page.verdict.textContent = !bounded ? "NO BOUND" : passed ? "PASSED" : "FAILED";
  page.verdict.className = `verdict ${bounded && passed ? "passed" : "failed"}`;
  page.goldenError.textContent = Number.isFinite(error) ? error.toExponential(2) : "not finite";
  page.goldenBound.textContent = bounded ? bound.toExponential(2) : "none: the file was never run";
  page.goldenMeasure.textContent = what;
  return `Golden data ${page.verdict.textContent}: error ${page.goldenError.textContent}, bound ${page.goldenBound.textContent}`;
}

export function showLatency(times) {
  const { sentence = "no run yet", low = "", high = "" } = drawHistogram(page.histogram, times);
  page.latency.textContent = sentence;
  page.fastest.textContent = low;
  page.slowest.textContent = high;
}

export function showFacts(facts) {
  for (const [id, text] of Object.entries(facts)) page[id].textContent = text;
}

/** Allow what needs a loaded model, or nothing. */
export function allow(ready) {
  for (const control of document.querySelectorAll("[data-needs-model]")) control.disabled = !ready;
  page.drop.classList.toggle("off", !ready);
}

function withText(tag, text, name = "") {
  const element = document.createElement(tag);
  element.textContent = text;
  if (name) element.className = name;
  return element;
}
