// One model's column: the streaming transcript, speed, errors and segments.

import { call, events, json } from "./api.js";
import { node } from "./dom.js";
import { time } from "./player.js";

const MOST_TOKENS = 60;

export class Column {
  /** Clicks call `play(begin, end)` and `refer(text)`. */
  constructor(model, play, refer) {
    this.model = model;
    this.play = play;
    this.answer = null;
    this.asked = null;
    this.reference = "";
    this.root = document.querySelector("#column").content.firstElementChild.cloneNode(true);
    this.part("h2").textContent = model;
    this.part("h2").title = model;
    this.part(".quietly").addEventListener("click", () => refer(this.answer.text));
    this.#mask();
  }

  part(selector) {
    return this.root.querySelector(selector);
  }

  /** Transcribe `clip`, showing the text as it streams. Returns the response, which `show` can display again. */
  async transcribe(clip, { language, prompt }, signal) {
    const form = new FormData();
    const fields = { model: this.model, response_format: "verbose_json", stream: "true", language, prompt };
    for (const [name, value] of Object.entries(fields)) if (value) form.set(name, value);
    form.set("file", clip, clip.name);
    this.asked = signal;
    const update = (answer) => this.asked === signal && this.#render(answer);
    update({ text: "", going: true });
    const began = performance.now();
    let answer = { text: "" };
    try {
      for await (const event of events(await call("v1/audio/transcriptions", { method: "POST", body: form, signal }))) {
        if (event.type === "transcript.text.delta") update({ text: (answer.text += event.delta), going: true });
        else answer = { ...event, elapsed: (performance.now() - began) / 1000 };
      }
    } catch (error) {
      answer.error = error.name === "AbortError" ? "Stopped." : error.message;
    }
    update(answer);
    return answer;
  }

  /** Show a response; null clears the column. */
  show(answer) {
    this.asked = null;
    this.#render(answer);
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
    this.part(".quietly").hidden = !answer?.text || Boolean(answer.going);
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
    this.part(".mask p").textContent = enabled ? `Never spoken: ${names.join(" ")}${more}` : "The model may say any of its tokens.";
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
