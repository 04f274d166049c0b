// Records from the microphone, unprocessed, and reports the level.

const FORMS = ["audio/webm;codecs=opus", "audio/mp4", "audio/ogg;codecs=opus"];
const EVERY_MS = 50;

export class Microphone {
  /** Calls `onLevel(levels, seconds)` while recording; levels are from 0 to 1. */
  constructor(onLevel) {
    this.onLevel = onLevel;
  }

  /** Throws an error with a message for the user. */
  async start() {
    this.stream = await permitted();
    this.chunks = [];
    this.recorder = new MediaRecorder(this.stream, { mimeType: FORMS.find((form) => MediaRecorder.isTypeSupported(form)) });
    this.recorder.addEventListener("dataavailable", (event) => this.chunks.push(event.data));
    this.recorder.start(1000);
    this.#listen();
  }

  /** The recording as a named file. */
  async stop() {
    clearInterval(this.timer);
    const stopped = new Promise((done) => this.recorder.addEventListener("stop", done, { once: true }));
    this.recorder.stop();
    await stopped;
    for (const track of this.stream.getTracks()) track.stop();
    await this.context.close();
    const type = this.recorder.mimeType.split(";")[0];
    const clock = new Date().toLocaleTimeString("en-GB");
    return new File(this.chunks, `Microphone ${clock}.${type.split("/")[1]}`, { type });
  }

  #listen() {
    this.context = new AudioContext();
    const analyser = this.context.createAnalyser();
    this.context.createMediaStreamSource(this.stream).connect(analyser);
    const samples = new Float32Array(analyser.fftSize);
    const levels = [];
    const began = performance.now();
    this.timer = setInterval(() => {
      analyser.getFloatTimeDomainData(samples);
      levels.push(loudness(samples));
      this.onLevel(levels, (performance.now() - began) / 1000);
    }, EVERY_MS);
  }
}

async function permitted() {
  if (!navigator.mediaDevices) {
    throw new Error("The browser lends its microphone only to https pages and to localhost.");
  }
  const audio = { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false };
  try {
    return await navigator.mediaDevices.getUserMedia({ audio });
  } catch (error) {
    const reasons = {
      NotAllowedError: "The browser was told not to lend the microphone to this page; allow it in the address bar.",
      NotFoundError: "There is no microphone.",
      NotReadableError: "The microphone is in use by another program.",
    };
    throw new Error(reasons[error.name] ?? `The microphone cannot be used: ${error.message}`);
  }
}

/** 0 at -60 decibels of full scale and below, 1 at 0. */
function loudness(samples) {
  const power = samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length;
  return Math.min(Math.max(1 + Math.log10(power + 1e-12) / 6, 0), 1);
}
