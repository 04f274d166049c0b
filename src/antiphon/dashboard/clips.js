/* <clip-player src="URL">: plays URL, draws what URL/waveform gives, and seeks where the waveform is clicked.
   Nothing is loaded before the player is in view. One plays at a time. */
{
  const PLAY = '<svg viewBox="0 0 16 16" aria-hidden="true"><path d="M4 2.5v11l9-5.5z"/></svg>';
  const PAUSE = '<svg viewBox="0 0 16 16" aria-hidden="true"><path d="M3.5 2.5h3v11h-3zM9.5 2.5h3v11h-3z"/></svg>';
  const clock = (s) => `${Math.floor(s / 60)}:${(s % 60).toFixed(1).padStart(4, "0")}`;

  class ClipPlayer extends HTMLElement {
    connectedCallback() {
      if (!this.audio) this.build();
      this.inView = new IntersectionObserver((seen) => seen.some((one) => one.isIntersecting) && this.load());
      this.inView.observe(this);
      this.resized = new ResizeObserver(() => this.draw());
      this.resized.observe(this.canvas);
    }

    disconnectedCallback() {
      this.audio.pause();
      this.inView.disconnect();
      this.resized.disconnect();
    }

    build() {
      this.button = Object.assign(document.createElement("button"), { type: "button", innerHTML: PLAY });
      this.button.setAttribute("aria-label", "Play");
      this.canvas = document.createElement("canvas");
      this.time = Object.assign(document.createElement("span"), { className: "time" });
      this.audio = Object.assign(document.createElement("audio"), { preload: "none", src: this.getAttribute("src") });
      this.append(this.button, this.canvas, this.time, this.audio);
      for (const [name, value] of Object.entries({ tabindex: 0, role: "slider", "aria-label": "Position", "aria-valuemin": 0, "aria-valuenow": 0 }))
        this.canvas.setAttribute(name, value);
      this.button.addEventListener("click", () => this.toggle());
      this.canvas.addEventListener("pointerdown", (event) => this.drag(event));
      this.canvas.addEventListener("pointermove", (event) => event.buttons && this.drag(event));
      this.canvas.addEventListener("keydown", (event) => this.key(event));
      for (const name of ["play", "pause", "ended", "seeked", "timeupdate"])
        this.audio.addEventListener(name, () => this.follow());
      this.audio.addEventListener("play", () => {
        for (const other of document.querySelectorAll("clip-player")) if (other !== this) other.audio.pause();
      });
      this.audio.addEventListener("error", () => this.audio.error && this.fail("this browser cannot play the clip"));
    }

    async load() {
      if (this.shape) return;
      this.shape = { seconds: 0, peaks: [] };
      const answer = await fetch(`${this.getAttribute("src")}/waveform`).catch(() => null);
      if (!answer?.ok) return this.fail(answer ? await answer.text() : "the dashboard does not answer");
      this.shape = await answer.json();
      if (this.shape.missing) return this.fail(this.shape.missing);
      this.classList.add("ready");
      this.canvas.setAttribute("aria-valuemax", this.shape.seconds.toFixed(2));
      this.draw();
    }

    fail(reason) {
      this.classList.add("failed");
      this.replaceChildren(Object.assign(document.createElement("span"), { textContent: `No sound: ${reason}` }));
    }

    toggle() {
      if (!this.audio.paused) this.audio.pause();
      else this.audio.play().catch((error) => error.name !== "AbortError" && this.fail(error.message));
    }

    seek(seconds) {
      const to = Math.max(0, Math.min(seconds, this.shape.seconds));
      if (this.audio.readyState) this.audio.currentTime = to;
      else {
        this.audio.addEventListener("loadedmetadata", () => (this.audio.currentTime = to), { once: true });
        this.audio.load();
      }
    }

    drag(event) {
      if (!this.shape?.seconds) return;
      const box = this.canvas.getBoundingClientRect();
      this.seek(((event.clientX - box.left) / box.width) * this.shape.seconds);
    }

    key(event) {
      const step = { ArrowLeft: -0.5, ArrowRight: 0.5 }[event.key];
      if (step) this.seek(this.audio.currentTime + step);
      else if (event.key === " " || event.key === "Enter") this.toggle();
      else return;
      event.preventDefault();
      event.stopPropagation();
    }

    follow() {
      const playing = !this.audio.paused && !this.audio.ended;
      this.button.innerHTML = playing ? PAUSE : PLAY;
      this.button.setAttribute("aria-label", playing ? "Pause" : "Play");
      this.draw();
      if (playing && !this.running) this.run();
    }

    run() {
      this.running = !this.audio.paused;
      this.draw();
      if (this.running) requestAnimationFrame(() => this.run());
    }

    draw() {
      const width = this.canvas.clientWidth, height = this.canvas.clientHeight;
      if (!this.shape || !width) return;
      const { seconds, peaks } = this.shape, at = this.audio.currentTime;
      const scale = window.devicePixelRatio || 1, style = getComputedStyle(this);
      this.canvas.width = width * scale;
      this.canvas.height = height * scale;
      const pen = this.canvas.getContext("2d");
      pen.scale(scale, scale);
      const bars = Math.max(1, Math.floor(width / 3)), played = seconds ? (at / seconds) * bars : 0;
      for (let bar = 0; bar < bars; bar++) {
        const first = Math.floor((bar * peaks.length) / bars), last = Math.ceil(((bar + 1) * peaks.length) / bars);
        const loud = peaks.length ? Math.max(...peaks.slice(first, last)) / 100 : 0;
        const tall = Math.max(1.5, loud * (height - 2));
        pen.fillStyle = style.getPropertyValue(bar < played ? "--accent" : "--wave");
        pen.fillRect(bar * 3, (height - tall) / 2, 2, tall);
      }
      this.time.textContent = at ? `${clock(at)} / ${clock(seconds)}` : clock(seconds);
      this.canvas.setAttribute("aria-valuenow", at.toFixed(2));
    }
  }

  customElements.define("clip-player", ClipPlayer);
  document.addEventListener("DOMContentLoaded", () =>
    new MutationObserver(() => document.querySelectorAll("clip-player").forEach((one) => one.draw())).observe(
      document.body, { attributeFilter: ["class"] }));
}
