// The same bytes as Pillow, for every vector: difference 0. `npm test`; VECTORS=FILE for another place of the file.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { top } from "../js/outputs.js";
import { normalise, resizeAndCrop } from "../js/preprocess.js";
import { resize } from "../js/resize.js";

const vectors = JSON.parse(readFileSync(process.env.VECTORS ?? new URL("vectors.json", import.meta.url), "utf8"));
const sha256 = (data) => createHash("sha256").update(new Uint8Array(data.buffer, data.byteOffset, data.byteLength)).digest("hex");

/** Make the picture of a seed, as `about` in the file says; with `channels` 4, as a canvas gives it. */
function made({ seed, kind, size: [height, width] }, channels = 3) {
  const data = new Uint8ClampedArray(height * width * channels).fill(77);
  let state = seed;
  for (let pixel = 0; pixel < data.length; pixel += channels) {
    for (let channel = 0; channel < 3; channel++) {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      data[pixel + channel] = kind === "noise" ? state >>> 24 : 255 * (state >>> 31);
    }
  }
  return { height, width, channels, data };
}

test("a picture is made as the file says", () => {
  assert.equal(Buffer.from(made(vectors.made).data).toString("hex"), vectors.made.pixels);
});

for (const channels of [3, 4]) {
  test(`${vectors.resize.length} resizes of ${channels} channels have Pillow's bytes`, () => {
    for (const entry of vectors.resize) {
      const resized = resize(made(entry, channels), ...entry.resized, entry.interpolation);
      assert.equal(sha256(resized.data), entry.sha256, JSON.stringify(entry));
    }
  });
}

test("one pixel that is another is seen", () => {
  const entry = vectors.resize.find(({ size, resized }) => size[0] > 2 * resized[0] && resized[0] > 8);
  const picture = made(entry);
  picture.data[picture.data.length >> 1] ^= 64;
  assert.notEqual(sha256(resize(picture, ...entry.resized, entry.interpolation).data), entry.sha256);
});

test(`${vectors.pictures.length} whole pictures have the bytes of the converter's own preprocessing, and its tensors`, () => {
  for (const entry of vectors.pictures) {
    const pixels = resizeAndCrop(made(entry, 4), entry.preprocess);
    assert.equal(sha256(pixels.data), entry.sha256, JSON.stringify(entry));
    assert.equal(sha256(normalise(pixels, entry.preprocess, "tensor")), entry.tensor_sha256);
    assert.equal(sha256(normalise(pixels, entry.preprocess, "image")), entry.image_sha256);
    assert.equal(sha256(normalise(pixels, entry.preprocess, "uint8")), entry.uint8_sha256);
  }
});

test("of equal outputs the first comes first", () => {
  for (const { values, top: wanted } of vectors.top) assert.deepEqual(top(Float32Array.from(values)), wanted);
});

test("outputs that are not finite decide nothing", () => {
  for (const bad of [NaN, Infinity, -Infinity]) assert.throws(() => top(Float32Array.of(1, bad)), { name: "Refusal" });
});
