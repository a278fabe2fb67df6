// Copies what a browser needs of the two runtimes from node_modules into vendor/; nothing is built. Run by `npm run vendor`.

import { cp, mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const packages = join(here, "node_modules");
const partial = join(here, "vendor.partial"); // whoever stops this half-way finds no vendor/, not half of one

const FILES = {
  "onnxruntime-web/dist/": {
    to: "onnxruntime-web/",
    names: [
      "ort.wasm.min.mjs",
      "ort-wasm-simd-threaded.mjs",
      "ort-wasm-simd-threaded.wasm",
      "ort.webgpu.min.mjs",
      "ort-wasm-simd-threaded.asyncify.mjs",
      "ort-wasm-simd-threaded.asyncify.wasm",
    ],
  },
  "@litertjs/core/wasm/": {
    to: "litert/wasm/",
    names: ["", "_compat", "_threaded"].flatMap((kind) => ["js", "wasm"].map((end) => `litert_wasm${kind}_internal.${end}`)),
  },
  "@litertjs/wasm-utils/dist/": { to: "litert/", names: ["bundle.js"] },
};

await rm(partial, { recursive: true, force: true });
for (const [from, { to, names }] of Object.entries(FILES)) {
  await mkdir(join(partial, to), { recursive: true });
  for (const name of names) await cp(join(packages, from, name), join(partial, to, name));
}

// A browser does not know where a bare name is; LiteRT.js has one such import.
const source = await readFile(join(packages, "@litertjs/core/dist/index.js"), "utf8");
const parts = source.split('from "@litertjs/wasm-utils"');
if (parts.length !== 2) throw new Error("LiteRT.js imports its helper in another way than the version that package.json pins");
await writeFile(join(partial, "litert/index.js"), parts.join('from "./bundle.js"'));

await rm(join(here, "vendor"), { recursive: true, force: true });
await rename(partial, join(here, "vendor"));
console.log("vendor/ is complete");
