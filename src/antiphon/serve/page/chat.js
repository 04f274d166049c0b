// Conversations with text models: each message goes to every model.

import { call, events } from "./api.js";
import { node, the } from "./dom.js";

export function chatWith(models) {
  const talks = models.map((model) => new Talk(model));
  the("talks").replaceChildren(...talks.map(({ root }) => root));
  the("chat").hidden = false;
  the("say").addEventListener("submit", (event) => {
    event.preventDefault();
    for (const talk of talks) talk.say(the("message").value, Number(the("temperature").value));
    the("message").value = "";
  });
  the("message").addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey) return;
    event.preventDefault();
    the("say").requestSubmit();
  });
  the("anew").addEventListener("click", () => talks.forEach((talk) => talk.begin()));
}

class Talk {
  constructor(model) {
    this.model = model;
    this.turns = node("ol", { className: "turns" });
    this.root = node("section", { ariaLabel: model }, node("h2", {}, model), this.turns);
    this.begin();
  }

  begin() {
    this.asked?.abort();
    this.messages = [];
    this.turns.replaceChildren();
  }

  async say(content, temperature) {
    this.asked?.abort();
    this.asked = new AbortController();
    const messages = [...this.messages, { role: "user", content }];
    const turn = node("li", { className: "going", ariaLive: "polite", ariaBusy: "true" });
    this.turns.append(node("li", { className: "user" }, content), turn);
    const body = { model: this.model, messages, stream: true, temperature };
    try {
      const answer = await answered(body, turn, this.asked.signal);
      this.messages = [...messages, { role: "assistant", content: answer }];
    } catch (error) {
      const problem = error.name === "AbortError" ? "Stopped." : error.message;
      turn.append(node("p", { className: "problem", role: "alert" }, problem));
    }
    turn.classList.remove("going");
    turn.ariaBusy = "false";
  }
}

/** The response to a chat request, shown in `turn` as it streams. */
async function answered(body, turn, signal) {
  const headers = { "Content-Type": "application/json" };
  const options = { method: "POST", headers, body: JSON.stringify(body), signal };
  const thoughts = node("p", { className: "quiet" });
  const answer = node("p", {});
  turn.append(thoughts, answer);
  for await (const { choices } of events(await call("v1/chat/completions", options))) {
    for (const { delta } of choices) {
      thoughts.textContent += delta.reasoning_content ?? "";
      answer.textContent += delta.content ?? "";
    }
  }
  return answer.textContent;
}
