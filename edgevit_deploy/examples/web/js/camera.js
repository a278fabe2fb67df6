// The device's camera: one state, whoever clicks how often.

import { Refusal } from "./refusal.js";

const REASONS = {
  NotAllowedError: "The camera was refused; allow it for this page in the browser's settings, or choose a picture.",
  NotFoundError: "This device has no camera; choose a picture.",
  NotReadableError: "The camera is in use by another program; close that, or choose a picture.",
};

/**
 * The camera in a <video>: off, starting or on. Each start has a turn of its own: who asked before the last start or stop can no
 * longer end the camera, and what a browser hands over late is switched off again.
 */
export class Camera {
  #video;
  #devices;
  #changed;
  #turn = null; // {stream}, as soon as there is one

  /** `changed` is called with whether it is wanted, each time that changes. */
  constructor(video, changed, devices = globalThis.navigator?.mediaDevices) {
    this.#video = video;
    this.#changed = changed;
    this.#devices = devices;
  }

  /** Whether it is on, or starting. */
  get wanted() {
    return this.#turn !== null;
  }

  isTurn(turn) {
    return this.#turn === turn;
  }

  /**
   * Switch it on.
   *
   * @returns its turn, for `isTurn` and `stop`; null where it was stopped, or started anew, before it was on.
   * @throws Refusal
   */
  async start() {
    this.stop();
    if (!this.#devices?.getUserMedia) {
      throw new Refusal("Browsers give the camera to pages on https:// and on 127.0.0.1 only; serve this page from there.");
    }
    const turn = { stream: null };
    this.#turn = turn;
    this.#changed(true);
    try {
      const stream = await this.#devices.getUserMedia({ video: { facingMode: "environment" }, audio: false });
      if (!this.isTurn(turn)) return end(stream);
      turn.stream = stream;
      this.#video.srcObject = stream;
      await this.#video.play();
      return this.isTurn(turn) ? turn : null;
    } catch (error) {
      if (!this.isTurn(turn)) return null; // nobody waits for it any more
      this.stop();
      throw new Refusal(REASONS[error.name] ?? `The camera cannot be used (${error.name}); choose a picture.`);
    }
  }

  /** Switch it off: as it is, or only where `turn` is still its turn. */
  stop(turn = this.#turn) {
    if (turn === null || !this.isTurn(turn)) return;
    this.#turn = null;
    if (turn.stream) end(turn.stream);
    this.#video.srcObject = null;
    this.#changed(false);
  }
}

function end(stream) {
  stream.getTracks().forEach((track) => track.stop());
  return null;
}
