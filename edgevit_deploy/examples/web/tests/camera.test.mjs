// The camera is on or off, whoever clicks how often, and none stays on.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Camera } from "../js/camera.js";

/** A camera whose streams come when the test says so. */
function made({ play = async () => {} } = {}) {
  const streams = [];
  const asked = [];
  const states = [];
  const devices = { getUserMedia: () => new Promise((resolve, reject) => asked.push({ resolve, reject })) };
  const video = { srcObject: null, play };
  const camera = new Camera(video, (wanted) => states.push(wanted), devices);
  const give = (place) => {
    const track = { on: true, stop: () => (track.on = false) };
    streams[place] = track;
    asked[place].resolve({ getTracks: () => [track] });
  };
  return { camera, video, asked, give, states, on: () => streams.filter((track) => track.on).length };
}

test("on, then off", async () => {
  const { camera, video, give, on, states } = made();
  const starting = camera.start();
  assert.equal(camera.wanted, true);
  give(0);
  assert.ok(camera.isTurn(await starting));
  assert.equal(on(), 1);
  camera.stop();
  assert.deepEqual([on(), video.srcObject, camera.wanted, states], [0, null, false, [true, false]]);
});

test("a second click before it is on leaves none on", async () => {
  const { camera, give, on, video } = made();
  const starting = camera.start();
  camera.stop();
  give(0);
  assert.equal(await starting, null);
  assert.deepEqual([on(), video.srcObject, camera.wanted], [0, null, false]);
});

test("who watched an older stream does not end the new one", async () => {
  const { camera, give, on } = made();
  const first = camera.start();
  give(0);
  const old = await first;
  camera.stop();
  const second = camera.start();
  give(1);
  const turn = await second;
  camera.stop(old);
  assert.deepEqual([on(), camera.isTurn(old), camera.isTurn(turn)], [1, false, true]);
});

test("two starts leave the last one on, in whatever order the streams come", async () => {
  const { camera, give, on } = made();
  const starts = [camera.start(), camera.start()];
  give(1);
  give(0);
  const turns = await Promise.all(starts);
  assert.equal(turns[0], null);
  assert.ok(camera.isTurn(turns[1]));
  assert.equal(on(), 1);
});

test("a video that does not play ends its tracks", async () => {
  const { camera, give, on } = made({ play: () => Promise.reject(Object.assign(new Error(), { name: "NotReadableError" })) });
  const starting = camera.start();
  give(0);
  await assert.rejects(starting, { name: "Refusal", message: /in use by another program/ });
  assert.deepEqual([on(), camera.wanted], [0, false]);
});

test("a refusal is said, unless nobody waits for it any more", async () => {
  const { camera, asked } = made();
  const refused = () => Object.assign(new Error(), { name: "NotAllowedError" });
  const first = camera.start();
  asked[0].reject(refused());
  await assert.rejects(first, { name: "Refusal", message: /was refused; allow it/ });
  const second = camera.start();
  camera.stop();
  asked[1].reject(refused());
  assert.equal(await second, null);
  await assert.rejects(new Camera({}, () => {}, null).start(), { name: "Refusal", message: /https/ });
});
