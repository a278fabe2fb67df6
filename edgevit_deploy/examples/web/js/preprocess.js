// From pixels to what the network takes, as `preprocess` in manifest.json says; the same numbers as the converter's own.

import { Refusal } from "./refusal.js";
import { resize } from "./resize.js";

const WHOLE_PIXELS = 2 ** 25; // a pass makes no more than this; every photograph stays below

/** Return the network's input: (3, height, width), a Uint8Array where it takes bytes, else a Float32Array. */
export function preprocess(picture, record, takes) {
  return normalise(resizeAndCrop(picture, record), record, takes);
}

/** Return (height, width) to which a whole picture is resized. */
export function resizedSize(picture, record) {
  const [height, width] = record.resize;
  if (record.fit === "stretch") return [height, width];
  if (height * picture.width >= width * picture.height) return [height, Math.trunc((height * picture.width) / picture.height)];
  return [Math.trunc((width * picture.height) / picture.width), width];
}

/** Return the RGB pixels that the crop keeps; outside of the picture there is black. */
export function resizeAndCrop(picture, record) {
  const [height, width] = resizedSize(picture, record);
  if (Math.max(height, picture.height) * width > WHOLE_PIXELS || height * Math.max(width, picture.width) > WHOLE_PIXELS) {
    throw new Refusal(`a picture of ${picture.width} x ${picture.height} pixels is too narrow a strip; cut it and give it again`);
  }
  const resized = resize(picture, height, width, record.interpolation);
  const [cropHeight, cropWidth] = record.crop;
  const top = halfToEven((height - cropHeight) / 2);
  const left = halfToEven((width - cropWidth) / 2);
  const data = new Uint8Array(cropHeight * cropWidth * 3);
  const from = Math.max(0, left);
  const to = Math.min(width, left + cropWidth);
  for (let row = Math.max(0, top); row < Math.min(height, top + cropHeight); row++) {
    const kept = resized.data.subarray((row * width + from) * 3, (row * width + to) * 3);
    data.set(kept, ((row - top) * cropWidth + from - left) * 3);
  }
  return { height: cropHeight, width: cropWidth, channels: 3, data };
}

/** "image" and "uint8" keep 0 to 255 for a file that normalises inside; "tensor" normalises, in this order and in double. */
export function normalise(picture, { mean, std, value_range: [low, high] }, takes) {
  const pixels = picture.height * picture.width;
  const Values = takes === "uint8" ? Uint8Array : Float32Array;
  const planes = new Values(3 * pixels);
  for (let channel = 0; channel < 3; channel++) {
    const table = new Values(256);
    for (let value = 0; value < 256; value++) {
      table[value] = takes !== "tensor" ? value : ((value / 255) * (high - low) + low - mean[channel]) / std[channel];
    }
    for (let pixel = 0; pixel < pixels; pixel++) planes[channel * pixels + pixel] = table[picture.data[pixel * 3 + channel]];
  }
  return planes;
}

/** Python's round: a half goes to the even neighbour. */
function halfToEven(value) {
  const floor = Math.floor(value);
  return value - floor === 0.5 ? floor + (floor % 2 === 0 ? 0 : 1) : Math.round(value);
}
