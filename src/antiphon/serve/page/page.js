// The page: the recording, the models and the history.

import { json, useKey } from "./api.js";
import { chatWith } from "./chat.js";
import { Column } from "./column.js";
import { node, the } from "./dom.js";
import { Microphone } from "./microphone.js";
import { Player, time } from "./player.js";

const HEALTH_EVERY_MS = 10_000;
const TYPING_MS = 300;

const player = new Player({ audio: the("audio"), canvas: the("waveform"), button: the("play"), clock: the("clock") });
const visit = [];
let columns = [];
let current = null;
let work = null;
let microphone = null;

async function open() {
  try {
    const { data } = await json("v1/models");
    the("key").hidden = true;
    tell("");
    meet(data);
  } catch (error) {
    if (error.status !== 401) return tell(error.message);
    tell(the("key").hidden ? "" : "The server has another key.");
    the("health").textContent = "key needed";
    the("key").hidden = false;
    the("key-field").focus();
  }
}

/** Set up the page for `models`: a column for each audio model, a conversation for each text model. */
function meet(models) {
  document.title = `antiphon: ${models.map(({ id }) => id).join(", ")}`;
  const hearing = models.filter(({ accepts }) => accepts.includes("audio"));
  columns = hearing.map(({ id }) => new Column(id, (begin, end) => player.play(begin, end), refer));
  the("columns").replaceChildren(...columns.map(({ root }) => root));
  the("hearing").hidden = !hearing.length;
  for (const field of ["language", "prompt"]) {
    the(`${field}-label`).hidden = !hearing.some(({ accepts }) => accepts.includes(field));
  }
  const languages = new Set(hearing.flatMap((model) => model.languages ?? []));
  the("languages").replaceChildren(...[...languages].sort().map((code) => node("option", { value: code }, nameOf(code))));
  const reading = models.filter((model) => !hearing.includes(model));
  if (reading.length) chatWith(reading.map(({ id }) => id));
  health();
  setInterval(() => document.hidden || health(), HEALTH_EVERY_MS);
}

async function health() {
  let said, kind;
  try {
    const { models } = await json("health");
    const busy = Object.values(models).reduce((sum, { requests }) => sum + requests, 0);
    [said, kind] = [busy ? `ready, ${busy} being answered` : "ready", "good"];
  } catch (error) {
    [said, kind] = [error.status ? `not well: ${error.message}` : "no answer", "bad"];
  }
  if (the("health").textContent !== said) the("health").textContent = said; // Screen readers announce each change.
  the("health").className = `badge ${kind}`;
}

/** Transcribe recordings in order; all are in the history at once, where each can be looked at meanwhile. */
async function hear(files) {
  tell("");
  const entries = files.map((file) => ({ file, answers: new Map(), reference: "", seconds: null, waiting: true }));
  visit.unshift(...entries);
  await show(entries[0]);
  await transcribe(entries);
}

/** Show a recording of the history with its results. */
async function show(entry) {
  current = entry;
  the("clip").hidden = false;
  the("invitation").hidden = true;
  the("transcribe").disabled = false;
  the("reference").value = entry.reference;
  for (const column of columns) column.show(entry.answers.get(column.model) ?? null);
  list();
  const readable = await player.load(entry.file);
  if (entry !== current) return;
  entry.seconds = readable ? player.seconds : null;
  const length = readable ? `${time(player.seconds)} · ` : "";
  the("about").textContent = `${entry.file.name} · ${length}${size(entry.file.size)}`;
  compare();
  list();
}

/** Ask one model after the other, so that their times are separate. Who looks at the last recording sees the next. */
async function transcribe(entries) {
  stopWork();
  const mine = (work = new AbortController());
  the("cancel").hidden = false;
  for (const [place, entry] of entries.entries()) {
    if (place && current === entries[place - 1] && !mine.signal.aborted) await show(entry);
    entry.answers.clear();
    if (entry === current) for (const column of columns) column.show(null);
    for (const column of columns) {
      if (mine.signal.aborted) break;
      const options = { language: the("language").value.trim(), prompt: the("prompt").value.trim() };
      await column.transcribe(entry.file, options, mine.signal, (answer) => {
        entry.answers.set(column.model, answer);
        if (entry === current) column.show(answer);
      });
      if (entry === current) compare();
      list();
    }
    entry.waiting = false;
  }
  list();
  if (work === mine) the("cancel").hidden = true;
}

function stopWork() {
  work?.abort();
  the("cancel").hidden = true;
}

async function compare() {
  const reference = the("reference").value.trim();
  the("legend").hidden = !reference;
  try {
    await Promise.all(columns.map((column) => column.compare(reference, the("language").value.trim())));
  } catch (error) {
    tell(error.message);
  }
}

function refer(text) {
  current.reference = the("reference").value = text;
  compare();
}

function list() {
  the("visit").hidden = !visit.length;
  the("history").replaceChildren(
    ...visit.map((entry) => {
      const first = [...entry.answers.values()][0];
      const button = node("button", { type: "button", ariaCurrent: entry === current ? "true" : "false" });
      button.append(
        node("span", { className: "name" }, entry.file.name),
        node("span", { className: "figures" }, entry.seconds === null ? "" : time(entry.seconds)),
        node("span", { className: "quiet" }, first?.error ?? (first?.text || (entry.waiting ? "waiting …" : ""))),
      );
      button.addEventListener("click", () => show(entry));
      return node("li", {}, button);
    }),
  );
}

async function record() {
  if (microphone) {
    const finished = microphone;
    microphone = null;
    listening(false);
    return hear([await finished.stop()]);
  }
  tell("");
  stopWork();
  player.audio.pause();
  const wanted = new Microphone((levels, seconds) => player.drawLive(levels, seconds));
  the("record").disabled = true; // Until the user answers the browser's permission prompt.
  try {
    await wanted.start();
    microphone = wanted;
    listening(true);
  } catch (error) {
    tell(error.message);
  }
  the("record").disabled = false;
}

/** Disable everything else while recording. */
function listening(on) {
  the("record").classList.toggle("on", on);
  the("record").lastElementChild.textContent = on ? "Stop" : "Record";
  the("choose").disabled = on;
  the("play").hidden = on;
  for (const id of ["options", "columns", "visit"]) the(id).inert = on;
  if (!on) return;
  the("invitation").hidden = true;
  the("clip").hidden = false;
  the("about").textContent = "Listening …";
}

function tell(problem) {
  the("problem").textContent = problem;
  the("problem").hidden = !problem;
}

/** A language's English name, if the browser knows its code. */
function nameOf(code) {
  try {
    return new Intl.DisplayNames("en", { type: "language" }).of(code);
  } catch {
    return code;
  }
}

function size(bytes) {
  return bytes < 1e6 ? `${Math.ceil(bytes / 1e3)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

the("key").addEventListener("submit", (event) => {
  event.preventDefault();
  useKey(the("key-field").value);
  open();
});
the("choose").addEventListener("click", () => the("file").click());
the("file").addEventListener("change", () => {
  const files = [...the("file").files];
  the("file").value = "";
  if (files.length) hear(files);
});
the("record").addEventListener("click", record);
the("options").addEventListener("submit", (event) => {
  event.preventDefault();
  transcribe([current]);
});
the("cancel").addEventListener("click", stopWork);

let typing;
the("reference").addEventListener("input", () => {
  if (current) current.reference = the("reference").value;
  clearTimeout(typing);
  typing = setTimeout(compare, TYPING_MS);
});

for (const name of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(name, (event) => {
    event.preventDefault();
    document.body.classList.toggle("dropping", name === "dragover");
    const files = name === "drop" ? [...event.dataTransfer.files] : [];
    if (files.length && columns.length && !microphone) hear(files);
  });
}

open();
