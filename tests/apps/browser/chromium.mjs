// Chromium as the tests want it: the system's own, headless, reaching nothing but this machine, and every request noted.

import { createRequire } from "node:module";
import { join } from "node:path";

const { chromium } = createRequire(join(process.env.BROWSER_PACKAGES, "package.json"))("playwright-core");

const QUIET = ["--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
const ALONE = ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"];
const CAMERA = ["--use-fake-device-for-media-stream"];
export const SOFTWARE_GPU = [
  "--enable-unsafe-webgpu",
  "--use-webgpu-adapter=swiftshader",
  "--enable-features=Vulkan",
  "--use-vulkan=swiftshader",
  "--use-angle=swiftshader",
  "--ignore-gpu-blocklist",
];

/** Open a browser and hand a page to `visit`; return what it returns, and what the browser asked for and complained of. */
export async function withPage(visit, { flags = [], ...options } = {}) {
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox", ...(flags.length ? [] : ["--disable-gpu"]), ...QUIET, ...ALONE, ...CAMERA, ...flags],
  });
  const noted = { requests: [], errors: [], pageErrors: [] };
  try {
    const context = await browser.newContext({ viewport: { width: 1200, height: 900 }, ...options });
    context.on("request", (request) => noted.requests.push(request.url()));
    context.on("console", (message) => message.type() === "error" && noted.errors.push(message.text()));
    context.on("weberror", (error) => noted.pageErrors.push(String(error.error())));
    const result = await visit(await context.newPage(), context);
    return { ...result, ...noted };
  } finally {
    await browser.close();
  }
}

export const text = (page, id) => page.locator(`#${id}`).textContent();

/** Wait until the page says that it is ready, or that something is wrong; return what it says. */
export async function settled(page) {
  await page.waitForFunction(() => /^Ready|bad/.test(document.querySelector("#status").textContent + document.querySelector("#status").className), null, {
    timeout: 120000,
  });
  return text(page, "status");
}

/** Everything that the page says. */
export async function read(page) {
  const ids = ["title", "subtitle", "doubts", "status", "times", "verdict", "golden-error", "golden-bound", "golden-measure"];
  const found = {};
  for (const id of [...ids, "latency", "runtime", "threads", "isolated", "offline"]) found[id] = await text(page, id);
  found.labels = await page.locator("#best .label").allTextContents();
  found.shares = await page.locator("#best .share").allTextContents();
  found.devices = await page.locator("#device option").allTextContents();
  return found;
}

/** Wait until what a click began has been said. */
export async function said(page, pattern) {
  const words = ({ source, flags }) => new RegExp(source, flags).test(document.querySelector("#status").textContent);
  await page.waitForFunction(words, { source: pattern.source, flags: pattern.flags }, { timeout: 120000 });
}
