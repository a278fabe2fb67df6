// The bundle beside this page: every file that the app uses is fetched whole, and held to the size and the hash on record.

import { readLabels, readManifest, refused } from "./manifest.js";
import { Refusal } from "./refusal.js";

const MAX_MANIFEST_BYTES = 4 * 2 ** 20;
const MAX_GOLDEN = 1e6; // no output of a network that anyone serves is larger, and the bound grows with the outputs

/**
 * Load a bundle.
 *
 * @param folder its URL, ending in "/".
 * @param targets that this app has a back end for.
 * @param progress called with (bytes so far, bytes in all).
 * @returns what `readManifest` returns, with `modelBytes`, `labelNames`, `goldenInput`, `goldenOutput`, and `urls` of all its files.
 * @throws Refusal
 */
export async function loadBundle(folder, targets, progress = () => {}) {
  const manifestUrl = new URL("manifest.json", folder);
  const manifest = await download(manifestUrl, MAX_MANIFEST_BYTES, () => {});
  const bundle = readManifest(new TextDecoder().decode(manifest), targets);
  const wanted = [bundle.labels, bundle.golden.input, bundle.golden.output, bundle.model];
  const total = wanted.reduce((sum, file) => sum + file.bytes, 0);
  let before = 0;
  const contents = [];
  for (const file of wanted) {
    contents.push(await recorded(urlOf(file, folder), file, (bytes) => progress(before + bytes, total)));
    before += file.bytes;
  }
  const [labels, input, output, model] = contents;
  const bytes = bundle.input.type === "uint8";
  const golden = { input: bytes ? input : floats(input, bundle.golden.input.path), output: floats(output, bundle.golden.output.path) };
  if (golden.output.some((value) => Math.abs(value) > MAX_GOLDEN)) throw refused("its golden outputs are too large to prove anything");
  return {
    ...bundle,
    labelNames: readLabels(labels, bundle.classes),
    modelBytes: model,
    goldenInput: golden.input,
    goldenOutput: golden.output,
    urls: [manifestUrl, ...wanted.map((file) => urlOf(file, folder))].map(String),
  };
}

function urlOf(file, folder) {
  return new URL(file.path.split("/").map(encodeURIComponent).join("/"), folder);
}

async function recorded(url, file, progress) {
  const bytes = await download(url, file.bytes, progress);
  if (bytes.length !== file.bytes) throw refused(`${file.path} has ${bytes.length} bytes, and its record says ${file.bytes}`);
  if ((await sha256(bytes)) !== file.sha256) throw refused(`${file.path} is not what was recorded (another sha256)`);
  return bytes;
}

async function download(url, most, progress) {
  let response;
  try {
    response = await fetch(url);
  } catch {
    throw new Refusal("The server does not answer; start it again and load this page anew.");
  }
  const name = decodeURIComponent(url.pathname.split("/").at(-1));
  if (!response.ok) throw refused(`${name} is not there (HTTP ${response.status})`);
  const chunks = [];
  let length = 0;
  for (const reader = response.body.getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) return joined(chunks, length);
    length += value.length;
    if (length > most) {
      await reader.cancel();
      throw refused(`${name} has more bytes than the ${most} on record`);
    }
    chunks.push(value);
    progress(length);
  }
}

function joined(chunks, length) {
  const bytes = new Uint8Array(length);
  let place = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, place);
    place += chunk.length;
  }
  return bytes;
}

async function sha256(bytes) {
  if (!globalThis.crypto?.subtle) {
    throw new Refusal("This page cannot check the bundle: browsers hash on https:// and on 127.0.0.1 only; serve it from there.");
  }
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Little-endian float32 without a header; every machine that runs a browser today is little-endian too. */
function floats(bytes, path) {
  const values = new Float32Array(bytes.buffer, 0, bytes.length / 4);
  if (!values.every(Number.isFinite)) throw refused(`${path} holds numbers that are not finite`);
  return values;
}
