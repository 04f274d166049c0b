// A player: waveform, playhead and segments.

const PEAK_RATE = 8000;
const BAR = 3;
const GAP = 2;

export class Player {
  constructor({ audio, canvas, button, clock }) {
    Object.assign(this, { audio, canvas, button, clock });
    this.seconds = 0;
    this.levels = null;
    this.part = null;
    button.addEventListener("click", () => this.toggle());
    canvas.addEventListener("click", (event) => this.seek((event.offsetX / canvas.clientWidth) * this.seconds));
    canvas.addEventListener("keydown", (event) => this.#steer(event));
    audio.addEventListener("play", () => this.#follow());
    for (const name of ["pause", "ended", "seeked"]) audio.addEventListener(name, () => this.draw());
    new ResizeObserver(() => this.draw()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  /** Whether the browser can decode `blob`; the server may be able to even if it cannot. */
  async load(blob) {
    this.audio.pause();
    URL.revokeObjectURL(this.audio.src);
    this.audio.src = URL.createObjectURL(blob);
    this.part = null;
    try {
      const decoder = new OfflineAudioContext(1, 1, PEAK_RATE);
      const sound = await decoder.decodeAudioData(await blob.arrayBuffer());
      this.levels = envelope(sound);
      this.seconds = sound.duration;
    } catch {
      this.levels = null;
      this.seconds = 0;
    }
    this.button.disabled = !this.levels;
    this.draw();
    return this.levels !== null;
  }

  toggle() {
    if (!this.audio.paused) return this.audio.pause();
    this.part = null;
    this.audio.play();
  }

  /** Play from `begin` to `end`, in seconds. */
  play(begin, end) {
    this.audio.currentTime = begin;
    this.part = { begin, end };
    this.audio.play();
  }

  seek(second) {
    this.part = null;
    this.audio.currentTime = Math.min(Math.max(second, 0), this.seconds);
  }

  /** Draw the level bars of a running recording; `levels` are 0 to 1, latest last. */
  drawLive(levels, seconds) {
    const { context, width, height, style } = this.#surface();
    const shown = levels.slice(-Math.floor(width / (BAR + GAP)));
    context.fillStyle = style.caretColor;
    shown.forEach((level, i) => bar(context, i * (BAR + GAP), level, height));
    this.clock.textContent = time(seconds);
  }

  draw() {
    const { context, width, height, style } = this.#surface();
    const now = this.audio.currentTime;
    this.button.classList.toggle("playing", !this.audio.paused);
    this.button.setAttribute("aria-label", this.audio.paused ? "Play" : "Pause");
    if (!this.levels) {
      context.fillStyle = style.color;
      context.font = `14px ${style.fontFamily}`;
      context.fillText("This browser cannot play this format; the server may read it.", 0, height / 2);
      this.clock.textContent = "";
      return;
    }
    const x = (second) => (second / this.seconds) * width;
    if (this.part) {
      context.fillStyle = style.textDecorationColor;
      context.fillRect(x(this.part.begin), 0, x(this.part.end - this.part.begin), height);
    }
    const bars = Math.floor(width / (BAR + GAP));
    const loudest = Math.max(...this.levels, 1e-4);
    for (let i = 0; i < bars; i++) {
      const begin = Math.floor((i * this.levels.length) / bars);
      const end = Math.max(Math.floor(((i + 1) * this.levels.length) / bars), begin + 1);
      const level = (Math.max(...this.levels.subarray(begin, end)) / loudest) ** 0.7; // Makes quiet speech visible.
      const left = i * (BAR + GAP);
      context.fillStyle = left < x(now) ? style.caretColor : style.color;
      bar(context, left, level, height);
    }
    context.fillStyle = style.caretColor;
    context.fillRect(Math.min(x(now), width - 1.5), 0, 1.5, height);
    this.clock.textContent = `${time(now)} / ${time(this.seconds)}`;
    this.#tell(now);
  }

  #tell(now) {
    const facts = { valuemin: 0, valuemax: this.seconds.toFixed(2), valuenow: now.toFixed(2), valuetext: time(now) };
    for (const [name, value] of Object.entries(facts)) this.canvas.setAttribute(`aria-${name}`, value);
  }

  #follow() {
    if (this.part && this.audio.currentTime >= this.part.end) this.audio.pause();
    this.draw();
    if (!this.audio.paused) requestAnimationFrame(() => this.#follow());
  }

  #steer(event) {
    const now = this.audio.currentTime;
    const targets = { ArrowLeft: now - 1, ArrowRight: now + 1, Home: 0, End: this.seconds };
    if (event.key === " ") this.toggle();
    else if (event.key in targets) this.seek(targets[event.key]);
    else return;
    event.preventDefault();
  }

  /** Clear the canvas; units are CSS pixels. Colors are text colors: only these resolve light-dark(). */
  #surface() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    const ratio = devicePixelRatio;
    this.canvas.width = width * ratio;
    this.canvas.height = height * ratio;
    const context = this.canvas.getContext("2d");
    context.scale(ratio, ratio);
    return { context, width, height, style: getComputedStyle(this.canvas) };
  }
}

/** The peak of every 10 ms over all channels. */
function envelope(sound) {
  const hop = PEAK_RATE / 100;
  const levels = new Float32Array(Math.max(Math.ceil(sound.length / hop), 1));
  for (let channel = 0; channel < sound.numberOfChannels; channel++) {
    const samples = sound.getChannelData(channel);
    for (let i = 0; i < samples.length; i++) {
      const level = Math.abs(samples[i]);
      if (level > levels[Math.floor(i / hop)]) levels[Math.floor(i / hop)] = level;
    }
  }
  return levels;
}

function bar(context, left, level, height) {
  const tall = Math.max(level * height, 2);
  context.beginPath();
  context.roundRect(left, (height - tall) / 2, BAR, tall, BAR / 2);
  context.fill();
}

export function time(seconds) {
  const tenths = Math.round(seconds * 10);
  return `${Math.floor(tenths / 600)}:${((tenths % 600) / 10).toFixed(1).padStart(4, "0")}`;
}
