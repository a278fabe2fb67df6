// One visit to the page, as a person would make it; prints what was seen as JSON. node drive.mjs SCENARIO URL [JSON]

import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";

import { read, said, settled, SOFTWARE_GPU, text, withPage } from "./chromium.mjs";

const [scenario, url, given = "{}"] = process.argv.slice(2);
const options = JSON.parse(given);

/** Tell the test to do something, and wait until it has. */
async function ask(what) {
  console.log(JSON.stringify({ ask: what }));
  for await (const line of createInterface({ input: process.stdin })) if (line) return;
}

/** How far things have moved that nobody had moved. */
const WATCH_SHIFTS = () => {
  globalThis.shifted = 0;
  new PerformanceObserver((list) => list.getEntries().forEach((entry) => (globalThis.shifted += entry.value))).observe({
    type: "layout-shift",
    buffered: true,
  });
};

async function open(page) {
  page.on("filechooser", () => {}); // from now on none opens a window; asked for at the click, it may come too late
  await page.addInitScript(WATCH_SHIFTS);
  await page.goto(url);
  await settled(page);
}

async function choose(page, file) {
  const [chooser] = await Promise.all([page.waitForEvent("filechooser"), page.click("#choose")]);
  await chooser.setFiles(file);
  await said(page, /^First|reads|cannot|large|strip/);
}

async function replay(page) {
  await page.click("#replay");
  await said(page, /^Golden/);
  return { verdict: await text(page, "verdict"), error: await text(page, "golden-error"), bound: await text(page, "golden-bound") };
}

const scenarios = {
  /** Look at several pages and go. */
  look: async (page) => {
    const looked = [];
    for (const address of [url, ...(options.more ?? [])]) {
      await page.goto(address);
      await settled(page);
      const enabled = await page.locator("[data-needs-model]:enabled").count();
      looked.push({ ...(await read(page)), enabled });
    }
    return { looked };
  },

  /** Everything with the mouse, then the server goes away. */
  tour: async (page) => {
    await open(page);
    const ready = await read(page);
    await choose(page, options.picture);
    const answer = await read(page);
    const golden = await replay(page);
    await page.click("#measure");
    await said(page, /^\d+ runs/);
    const shifted = await page.evaluate(() => globalThis.shifted);
    const shots = async (name) => options.shots && (await page.screenshot({ path: `${options.shots}-${name}.png`, fullPage: true }));
    await shots("desktop");
    await page.emulateMedia({ colorScheme: "dark" });
    await shots("desktop-dark");
    await page.setViewportSize({ width: 390, height: 844 });
    await shots("390-dark");
    await page.emulateMedia({ colorScheme: "light" });
    await shots("390");
    const overflow = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    const after = await read(page);
    await page.selectOption("#device", "wasm 1");
    await settled(page);
    const oneThread = { ...(await replay(page)), threads: await text(page, "threads") };
    await ask("cut");
    await page.goto(new URL("index.html?utm=1", url).href);
    await settled(page);
    const offline = await replay(page);
    await choose(page, options.picture);
    return { ready, answer, golden, after, oneThread, offline, offlineAnswer: await read(page), overflow, shifted };
  },

  /** Nothing but Tab, Enter, Space and the arrows. */
  keyboard: async (page) => {
    await open(page);
    const reach = async (id, key = "Tab") => {
      for (let step = 0; step < 20; step++) {
        await page.keyboard.press(key);
        const focused = await page.evaluate(() => [document.activeElement.id, getComputedStyle(document.activeElement).outlineStyle]);
        if (focused[0] === id) return focused[1];
      }
      throw new Error(`${key} does not reach ${id}`);
    };
    const outlines = [await reach("choose")];
    const [chooser] = await Promise.all([page.waitForEvent("filechooser"), page.keyboard.press("Enter")]);
    await chooser.setFiles(options.picture);
    await said(page, /^First/);
    outlines.push(await reach("replay"));
    await page.keyboard.press("Space");
    await said(page, /^Golden/);
    const first = await read(page);
    outlines.push(await reach("device", "Shift+Tab"));
    await page.keyboard.press("ArrowDown");
    await said(page, /^Starting/);
    await settled(page);
    const focused = await page.evaluate(() => document.activeElement.id); // switching must not lose the place
    const elements = await page.locator("#best *, #doubts *").evaluateAll((all) => [...new Set(all.map((one) => one.tagName))].sort());
    return { outlines, first, elements, focused, page: await read(page), live: await page.locator("#status").getAttribute("aria-live") };
  },

  /** A dropped picture, a pasted one, one that is none, and the camera: refused, then allowed. */
  ways: async (page, context) => {
    await open(page);
    const give = (kind, name, type, data) =>
      page.evaluate(
        ([kind, name, type, data]) => {
          const transfer = new DataTransfer();
          transfer.items.add(new File([Uint8Array.from(atob(data), (c) => c.charCodeAt(0))], name, { type }));
          const event = kind === "drop" ? new DragEvent("drop", { dataTransfer: transfer }) : new ClipboardEvent("paste", { clipboardData: transfer });
          document.dispatchEvent(event);
        },
        [kind, name, type, data],
      );
    const data = readFileSync(options.picture).toString("base64");
    const seen = {};
    for (const kind of ["drop", "paste"]) {
      await give(kind, "a.png", "image/png", data);
      await said(page, /^First/);
      seen[kind] = await page.locator("#best .label").first().textContent();
      await page.click("#replay");
      await said(page, /^Golden/);
    }
    const refuse = async (name, type, bytes) => {
      await give("drop", name, type, bytes.toString("base64"));
      await said(page, /cannot read|too large/);
      return { line: await text(page, "status"), labels: await page.locator("#best .label").allTextContents(), times: await text(page, "times") };
    };
    seen.text = await refuse("a.txt", "text/plain", Buffer.from("no picture"));
    await give("paste", "a.png", "image/png", data);
    await said(page, /^First/);
    seen.large = await refuse("large.png", "image/png", readFileSync(options.large));
    await give("paste", "a.png", "image/png", data); // two at once: the last one counts
    await give("drop", "b.txt", "text/plain", "");
    await said(page, /cannot read/);
    await page.click("#replay"); // the worker has done both by then
    await said(page, /^Golden/);
    seen.last = { labels: await page.locator("#best .label").allTextContents(), times: await text(page, "times") };
    seen.twice = await page.evaluate(async () => {
      document.querySelector("#camera").click();
      document.querySelector("#camera").click();
      await new Promise((resolve) => setTimeout(resolve, 300));
      return document.querySelector("#camera").ariaPressed;
    });
    await page.click("#camera");
    await said(page, /^The camera was refused/);
    seen.refused = await text(page, "status");
    await context.grantPermissions(["camera"]);
    await page.click("#camera");
    await said(page, /^The camera is on|^First/);
    await page.waitForFunction(() => /pixels/.test(document.querySelector("#times").textContent));
    await page.waitForFunction(() => parseInt(document.querySelector("#latency").textContent) > 6);
    seen.camera = await read(page);
    await page.click("#camera");
    await said(page, /^The camera is off/);
    seen.off = { labels: await page.locator("#best .label").allTextContents(), times: await text(page, "times") };
    return seen;
  },

  /** The sha256 of pictures' pixels upright, and of what is left of them after the crop. */
  pixels: async (page) => {
    await page.goto(url);
    const found = {};
    for (const file of options.files) {
      found[file] = await page.evaluate(
        async ([data, preprocess]) => {
          const { pixelsOf } = await import("/js/picture.js");
          const { resizeAndCrop } = await import("/js/preprocess.js");
          const hash = async (values) => {
            const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", values));
            return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
          };
          const picture = await pixelsOf(new Blob([Uint8Array.from(atob(data), (c) => c.charCodeAt(0))]));
          const rgb = picture.data.filter((_, place) => place % 4 < 3);
          return {
            size: [picture.height, picture.width],
            pixels: await hash(rgb),
            cropped: await hash(resizeAndCrop(picture, preprocess).data),
          };
        },
        [readFileSync(file).toString("base64"), options.preprocess],
      );
    }
    return { found };
  },

  /** What is said of offline use: while the runtime is loaded (if that is held up), and in the end. */
  offline: async (page, context) => {
    if (options.room) {
      const session = await context.newCDPSession(page);
      await session.send("Storage.overrideQuotaForOrigin", { origin: new URL(url).origin, quotaSize: options.room });
    }
    await page.goto(url);
    let before;
    if (options.held) {
      await said(page, /^Starting/);
      await page.waitForTimeout(1000); // a wrong "yes" would be there by now
      before = await text(page, "offline");
      await ask("release");
    }
    await settled(page);
    await page.waitForFunction(() => !/^(\s*|no: not everything.*)$/.test(document.querySelector("#offline").textContent));
    return { before, page: await read(page) };
  },

  /** Golden data on WebGPU, in software. */
  gpu: async (page) => {
    await open(page);
    await page.selectOption("#device", "webgpu 1");
    await settled(page);
    return { ...(await replay(page)), page: await read(page) };
  },
};

const result = await withPage(scenarios[scenario], { flags: scenario === "gpu" ? SOFTWARE_GPU : [], ...options.context });
console.log(JSON.stringify({ result }));
process.exit(0); // the test may keep stdin open
