// The web sample's own way in Chromium, and those that pages take. node browser.mjs URL JOBS.json: a line of JSON for each job.

import { readFileSync } from "node:fs";

import { withPage } from "../../../../tests/apps/browser/chromium.mjs";

const [url, list] = process.argv.slice(2);
const jobs = JSON.parse(readFileSync(list, "utf8"));

/** Runs in the page: pixels of the crop by the name of each way, in base64, or why there are none. */
async function taken({ file, preprocess, pica }) {
  const { pixelsOf } = await import("/js/picture.js");
  const { resizeAndCrop, resizedSize } = await import("/js/preprocess.js");
  const blob = await (await fetch(file)).blob();
  const [cropHeight, cropWidth] = preprocess.crop;

  const rgb = (data) => data.filter((_, place) => place % 4 < 3);
  const middle = (drawable, width, height) => {
    const canvas = new OffscreenCanvas(cropWidth, cropHeight);
    const context = canvas.getContext("2d", { willReadFrequently: true });
    const even = (value) => (Math.abs(value % 1) === 0.5 ? 2 * Math.round(value / 2) : Math.round(value)); // as Python rounds
    context.drawImage(drawable, -even((width - cropWidth) / 2), -even((height - cropHeight) / 2));
    return rgb(context.getImageData(0, 0, cropWidth, cropHeight).data);
  };
  const image = new Image();
  image.src = URL.createObjectURL(blob);
  await image.decode().catch(() => {});
  const size = () => {
    if (!image.naturalWidth) throw new Error("the browser cannot decode it");
    return resizedSize({ height: image.naturalHeight, width: image.naturalWidth }, preprocess);
  };

  const ways = {};
  if (!pica) ways["ours: JavaScript in Chromium"] = async () => resizeAndCrop(await pixelsOf(blob), preprocess).data;
  for (const quality of pica ? [] : ["low", "medium", "high"]) {
    ways[`drawImage of an img, ${quality}`] = async () => {
      const [height, width] = size();
      const canvas = new OffscreenCanvas(width, height);
      const context = canvas.getContext("2d");
      context.imageSmoothingQuality = quality;
      context.drawImage(image, 0, 0, width, height);
      return middle(canvas, width, height);
    };
    ways[`drawImage of a bitmap, ${quality}`] = async () => {
      const [height, width] = size();
      const canvas = new OffscreenCanvas(width, height);
      const context = canvas.getContext("2d");
      context.imageSmoothingQuality = quality;
      context.drawImage(await createImageBitmap(blob), 0, 0, width, height);
      return middle(canvas, width, height);
    };
    ways[`createImageBitmap, ${quality}`] = async () => {
      const [height, width] = size();
      return middle(await createImageBitmap(blob, { resizeWidth: width, resizeHeight: height, resizeQuality: quality }), width, height);
    };
  }
  if (pica) {
    globalThis.resizer ??= import("/pica/pica.mjs").then((module) => (module.default.prototype ? new module.default() : module.default()));
    ways["pica"] = async () => {
      const [height, width] = size();
      const canvas = Object.assign(document.createElement("canvas"), { width, height });
      await (await globalThis.resizer).resize(image, canvas);
      return middle(canvas, width, height);
    };
  }

  const found = {};
  for (const [name, way] of Object.entries(ways)) {
    try {
      const bytes = await way();
      found[name] = { bytes: btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join("")) };
    } catch (error) {
      found[name] = { refused: String(error.message ?? error).split("\n")[0] };
    }
  }
  URL.revokeObjectURL(image.src);
  return found;
}

await withPage(async (page) => {
  await page.goto(url);
  for (const job of jobs) console.log(JSON.stringify(await page.evaluate(taken, job)));
});
process.exit(0);
