// Pixels of a picture, upright, as the file has them: no colour management, as the network was evaluated.

import { Refusal } from "./refusal.js";

const DECODING = { colorSpaceConversion: "none", premultiplyAlpha: "none", imageOrientation: "from-image" };

/** Return {height, width, channels: 4, data, exact} of a picture's file, or of a frame (ImageBitmap). */
export async function pixelsOf(source) {
  const bitmap = source instanceof Blob ? await decoded(source) : source;
  const { height, width } = bitmap;
  let data;
  let whole;
  try {
    data = drawn(bitmap);
    whole = every(data, 255) ? data : uncovered(bitmap);
  } catch {
    throw new Refusal(`A picture of ${width} x ${height} pixels is too large for this browser; make it smaller.`);
  } finally {
    bitmap.close();
  }
  if (!whole && every(data, 0)) {
    const why = "it is too large for this browser, or nothing of it can be seen";
    throw new Refusal(`A picture of ${width} x ${height} pixels came back empty: ${why}; make it smaller, or opaque.`);
  }
  return { height, width, channels: 4, data: whole ?? data, exact: Boolean(whole) };
}

async function decoded(blob) {
  try {
    return await createImageBitmap(blob, DECODING);
  } catch {
    throw new Refusal("This browser cannot read that file as a picture; give a JPEG, PNG, WebP, GIF, BMP or AVIF.");
  }
}

function drawn(bitmap) {
  const { height, width } = bitmap;
  const context = new OffscreenCanvas(width, height).getContext("2d", { colorSpace: "srgb", willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  return context.getImageData(0, 0, width, height).data;
}

/** Say whether every pixel has an opacity. A canvas that cannot hold a picture gives zeros, and no error. */
function every(data, opacity) {
  for (let place = 3; place < data.length; place += 4) if (data[place] !== opacity) return false;
  return true;
}

/**
 * Return the colours of see-through pixels as the file has them. A 2D canvas keeps colour times opacity, so that they come back
 * rounded, or black where nothing is seen of them; a WebGL texture keeps both. Nothing where there is no WebGL of that size.
 */
function uncovered(bitmap) {
  const { height, width } = bitmap;
  const gl = new OffscreenCanvas(1, 1).getContext("webgl");
  if (!gl || Math.max(height, width) > gl.getParameter(gl.MAX_TEXTURE_SIZE)) return null;
  try {
    gl.pixelStorei(gl.UNPACK_PREMULTIPLY_ALPHA_WEBGL, false);
    gl.pixelStorei(gl.UNPACK_COLORSPACE_CONVERSION_WEBGL, gl.NONE);
    const texture = gl.createTexture();
    gl.bindTexture(gl.TEXTURE_2D, texture);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, bitmap);
    gl.bindFramebuffer(gl.FRAMEBUFFER, gl.createFramebuffer());
    gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, texture, 0);
    const data = new Uint8Array(height * width * 4);
    gl.readPixels(0, 0, width, height, gl.RGBA, gl.UNSIGNED_BYTE, data);
    return gl.getError() === gl.NO_ERROR ? data : null;
  } finally {
    gl.getExtension("WEBGL_lose_context")?.loseContext(); // a browser has few of them
  }
}
