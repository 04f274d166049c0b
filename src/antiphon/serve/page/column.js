// One model's column: the streaming transcript, speed, errors and segments.

import { call, events, json } from "./api.js";
import { copy, download, node } from "./dom.js";
import { time } from "./player.js";

const MOST_TOKENS = 60;

export class Column {
  /** Clicks call `play(begin, end)` and `refer(text)`. */
  constructor(model, play, refer) {
    this.model = model;
    this.play = play;
    this.refer = refer;
    this.answer = null;
    this.reference = "";
    this.root = document.querySelector("#column").content.firstElementChild.cloneNode(true);
    this.part("h2").textContent = model;
    this.part("h2").title = model;
    this.part(".take").addEventListener("click", (event) => this.#take(event.target));
    this.#mask();
  }

  part(selector) {
    return this.root.querySelector(selector);
  }

  /** Transcribe `clip`, calling `update` with the response as it grows, with the last one when it is whole. */
  async transcribe(clip, options, signal, update) {
    update({ text: "", going: true });
    const began = performance.now();
    let answer = { text: "" };
    try {
      const form = this.#form(clip, options, "verbose_json");
      form.set("stream", "true");
      for await (const event of events(await call("v1/audio/transcriptions", { method: "POST", body: form, signal }))) {
        if (event.type === "transcript.text.delta") update({ text: (answer.text += event.delta), going: true });
        else answer = { ...event, elapsed: (performance.now() - began) / 1000 };
      }
    } catch (error) {
      answer.error = error.name === "AbortError" ? "Stopped." : error.message;
    }
    update({ ...answer, clip, options });
  }

  #form(clip, { language, prompt }, format) {
    const form = new FormData();
    const fields = { model: this.model, response_format: format, language, prompt };
    for (const [name, value] of Object.entries(fields)) if (value) form.set(name, value);
    form.set("file", clip, clip.name);
    return form;
  }

  /** Show a response; null clears the column. */
  show(answer) {
    this.#render(answer);
  }

  /** What a button below the transcript does: copy it, download it, or make it the reference. */
  async #take(button) {
    const { clip, options, going, elapsed, type, ...rest } = this.answer, what = button.dataset.do;
    const name = `${clip.name.replace(/\.[^.]+$/, "")}.${what}`;
    if (what === "refer") this.refer(rest.text);
    if (what === "txt") download(`${rest.text}\n`, name, "text/plain");
    if (what === "json") download(JSON.stringify(rest, null, 2), name, "application/json");
    if (what === "copy") await this.#say(button, () => copy(rest.text), "Copied");
    if (what === "srt") {
      const asked = async () => {
        const answer = await call("v1/audio/transcriptions", { method: "POST", body: this.#form(clip, options, "srt") });
        download(await answer.text(), name, "application/x-subrip");
      };
      await this.#say(button, asked, "srt");
    }
  }

  /** Do something that takes a moment, and say on its button that it is done. */
  async #say(button, work, done) {
    const before = button.textContent;
    button.disabled = true;
    try {
      await work();
      button.textContent = done;
    } catch (error) {
      this.part(".problem").textContent = error.message;
      this.part(".problem").hidden = false;
    }
    button.disabled = false;
    setTimeout(() => (button.textContent = before), 1500);
  }

  #render(answer) {
    this.answer = answer;
    const transcript = this.part(".transcript");
    const nothing = answer?.elapsed !== undefined && !answer.text;
    transcript.textContent = nothing ? "Nothing was recognized." : answer?.text || (answer ? "" : "The transcript will appear here.");
    transcript.classList.toggle("empty", !answer?.text);
    transcript.classList.toggle("going", Boolean(answer?.going));
    transcript.ariaBusy = String(Boolean(answer?.going));
    transcript.hidden = Boolean(answer?.error && !answer.text);
    this.part(".problem").textContent = answer?.error ?? "";
    this.part(".problem").hidden = !answer?.error;
    this.part(".take").hidden = !answer?.text || Boolean(answer.going);
    this.part(".compared").hidden = true;
    this.#figures(answer);
    this.#segments(answer?.segments ?? []);
  }

  /** Mark the errors against `reference`. The server counts them as evaluations do. */
  async compare(reference, language) {
    const answer = this.answer;
    this.reference = reference;
    const compared = this.part(".compared");
    if (!reference || answer?.text === undefined || answer.going || answer.error) {
      compared.hidden = true;
      return;
    }
    const found = await json("diff", { reference, hypothesis: answer.text, language: language || answer.language });
    if (this.answer !== answer || this.reference !== reference) return;
    this.part(".score").replaceChildren(...score(found));
    this.part(".diff").replaceChildren(...found.operations.flatMap(marked));
    compared.hidden = false;
  }

  #figures(answer) {
    const list = this.part("dl");
    list.hidden = answer?.elapsed === undefined;
    if (list.hidden) return;
    const facts = {
      Time: `${answer.elapsed.toFixed(2)} s`,
      RTFx: `${(answer.duration / answer.elapsed).toFixed(1)}×`,
      Language: answer.language === "unknown" ? "" : answer.language,
    };
    list.title = "From sending to the last word. RTFx: seconds of audio in a second.";
    list.replaceChildren(
      ...Object.entries(facts)
        .filter(([, value]) => value)
        .map(([name, value]) => node("div", {}, node("dt", {}, name), node("dd", {}, value))),
    );
  }

  #segments(segments) {
    this.part(".segments").hidden = !segments.length;
    this.part(".segments").replaceChildren(
      ...segments.map(({ start, end, text }) => {
        const button = node("button", { type: "button", title: "Play this segment" });
        button.append(node("span", { className: "figures" }, `${time(start)} – ${time(end)}`), ` ${text || "(nothing)"}`);
        button.addEventListener("click", () => this.play(start, end));
        return node("li", {}, button);
      }),
    );
  }

  async #mask() {
    const { enabled, blocked } = await json(`token-mask?model=${encodeURIComponent(this.model)}`);
    const badge = this.part(".mask");
    badge.hidden = false;
    badge.classList.toggle("bad", !enabled);
    this.part(".mask summary").textContent = enabled ? `${blocked.length} tokens masked` : "no token mask";
    const more = blocked.length > MOST_TOKENS ? ` … and ${blocked.length - MOST_TOKENS} more` : "";
    const names = blocked.slice(0, MOST_TOKENS).map(({ id, token }) => token ?? `#${id}`);
    this.part(".mask p").textContent = enabled
      ? "These tokens are no words but marks of the model's own format. They are masked while it writes, so no transcript has one:"
      : "The model may write any of its tokens, marks of its format among them.";
    this.part(".mask code").textContent = enabled ? names.join(" ") + more : "";
  }
}

function score({ wer, substitutions, deletions, insertions, hits, normalizer }) {
  const words = hits + substitutions + deletions;
  const rate = wer === null ? "No reference words" : `WER ${(100 * wer).toFixed(1)}%`;
  const counts = `${substitutions} wrong, ${deletions} missed, ${insertions} added, of ${words} ${words === 1 ? "word" : "words"}`;
  const title = `Compared after normalization: ${normalizer}`;
  return [node("strong", { title }, rate), ` · ${counts} · `, node("span", { className: "quiet", title }, "normalized")];
}

function marked({ kind, reference, hypothesis }) {
  if (kind === "hit") return [hypothesis, " "];
  const parts = [reference && node("del", {}, reference), hypothesis && node("ins", {}, hypothesis)].filter(Boolean);
  return [...parts, " "];
}
