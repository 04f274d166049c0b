// A conversation with a model that reads and writes.

import { call, events } from "./api.js";
import { node } from "./column.js";

export class Chat {
  constructor(model) {
    this.model = model;
    this.messages = [];
    this.turns = document.querySelector("#turns");
    document.querySelector("#chat").hidden = false;
    const form = document.querySelector("#say");
    const message = document.querySelector("#message");
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#say(message.value);
      message.value = "";
    });
    message.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey) return;
      event.preventDefault();
      form.requestSubmit();
    });
    document.querySelector("#anew").addEventListener("click", () => {
      this.stop?.abort();
      this.messages = [];
      this.turns.replaceChildren();
    });
  }

  async #say(content) {
    this.stop?.abort();
    this.stop = new AbortController();
    this.messages.push({ role: "user", content });
    this.turns.append(node("li", { className: "user" }, content));
    const turn = node("li", { className: "going", ariaLive: "polite" });
    this.turns.append(turn);
    try {
      const answer = await this.#answered(turn);
      if (answer) this.messages.push({ role: "assistant", content: answer });
    } catch (error) {
      this.messages.pop();
      turn.append(node("p", { className: "problem", role: "alert" }, error.name === "AbortError" ? "Stopped." : error.message));
    }
    turn.classList.remove("going");
  }

  async #answered(turn) {
    const temperature = Number(document.querySelector("#temperature").value);
    const body = JSON.stringify({ model: this.model, messages: this.messages, stream: true, temperature });
    const headers = { "Content-Type": "application/json" };
    const response = await call("v1/chat/completions", { method: "POST", headers, body, signal: this.stop.signal });
    const thoughts = node("p", { className: "quiet thoughts" });
    const answer = node("p", {});
    turn.append(thoughts, answer);
    for await (const { choices } of events(response)) {
      for (const { delta } of choices) {
        thoughts.textContent += delta.reasoning_content ?? "";
        answer.textContent += delta.content ?? "";
      }
      turn.scrollIntoView({ block: "nearest" });
    }
    return answer.textContent;
  }
}
