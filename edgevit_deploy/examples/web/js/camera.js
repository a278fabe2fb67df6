// Frames of the device's camera, for as long as it is on.

import { Refusal } from "./refusal.js";

const REASONS = {
  NotAllowedError: "The camera was refused; allow it for this page in the browser's settings, or choose a picture.",
  NotFoundError: "This device has no camera; choose a picture.",
  NotReadableError: "The camera is in use by another program; close that, or choose a picture.",
};

/** Show the camera in a <video> and return how to end it. */
export async function startCamera(video) {
  if (!navigator.mediaDevices?.getUserMedia) {
    throw new Refusal("Browsers give the camera to pages on https:// and on 127.0.0.1 only; serve this page from there.");
  }
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" }, audio: false });
  } catch (error) {
    throw new Refusal(REASONS[error.name] ?? `The camera cannot be used (${error.name}); choose a picture.`);
  }
  video.srcObject = stream;
  await video.play();
  return () => {
    stream.getTracks().forEach((track) => track.stop());
    video.srcObject = null;
  };
}
