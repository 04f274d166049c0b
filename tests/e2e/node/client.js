// Uses a server through OpenAI's own client for Node: node client.js URL CLIP.wav
import fs from "node:fs";
import OpenAI from "openai";

const [url, clip] = process.argv.slice(2);
const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: "none", maxRetries: 0 });
const said = {};

const models = await client.models.list();
said.models = models.data.map(({ id }) => id);

const file = () => fs.createReadStream(clip);
said.text = (await client.audio.transcriptions.create({ model: "student", file: file(), language: "en" })).text;
const verbose = { model: "student", file: file(), response_format: "verbose_json", timestamp_granularities: ["segment"] };
said.segments = (await client.audio.transcriptions.create(verbose)).segments.length;
said.streamed = "";
for await (const event of await client.audio.transcriptions.create({ model: "student", file: file(), stream: true })) {
  if (event.type === "transcript.text.delta") said.streamed += event.delta;
}

const messages = [{ role: "user", content: "Hi" }];
const chat = { model: "reader", messages, temperature: 0, max_completion_tokens: 4, presence_penalty: 0, store: false };
const whole = await client.chat.completions.create(chat);
said.answer = whole.choices[0].message.content;
said.chunks = "";
for await (const chunk of await client.chat.completions.create({ ...chat, stream: true })) {
  said.chunks += chunk.choices[0]?.delta?.content ?? "";
}
const again = [...messages, whole.choices[0].message, { role: "user", content: "And?" }];
said.again = (await client.chat.completions.create({ ...chat, messages: again })).choices.length;

try {
  await client.chat.completions.create({ ...chat, model: "nobody" });
} catch (error) {
  said.error = [error.status, error.code, error.param];
}
console.log(JSON.stringify(said));
