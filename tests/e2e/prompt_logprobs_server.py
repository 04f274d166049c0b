"""A server in the form of vLLM's chat completions with `prompt_logprobs`: python THIS MODEL PORT_FILE."""

from __future__ import annotations

import base64
import io
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock
from typing import Any

import soundfile
import torch

from antiphon.models.load import load_policy
from antiphon.types import Prompt

ONE_AT_A_TIME = Lock()


class Handler(BaseHTTPRequestHandler):
    policy: Any
    failures = 1
    """The first requests are answered with status 503, so that clients must ask again."""

    def do_GET(self) -> None:
        self._answer({"data": [{"id": "teacher"}]} if self.path == "/v1/models" else None)

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with ONE_AT_A_TIME:
            if Handler.failures:
                Handler.failures -= 1
                self._answer({"error": "starting"}, 503)
            elif request["prompt_logprobs"] > len(self.policy.tokenizer):
                self._answer({"error": "more prompt_logprobs than max_logprobs"}, 400)
            else:
                self._answer(score(self.policy, request))

    def _answer(self, body: Any, status: int = 200) -> None:
        payload = json.dumps(body).encode()
        self.send_response(status if body is not None else 404)
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, format: str, *args: Any) -> None: ...


@torch.no_grad()
def score(policy: Any, request: dict[str, Any]) -> dict[str, Any]:
    """The prompt's tokens, and for those of the last message what the model expected there: the most probable tokens
    and the one that is there, by token id."""
    user, assistant = request["messages"][-2:]
    (audio,) = [part["input_audio"]["data"] for part in user["content"] if part["type"] == "input_audio"]
    waveform, rate = soundfile.read(io.BytesIO(base64.b64decode(audio)), dtype="float32")
    prompt = Prompt("asked", waveform, rate)
    closing = "" if request["continue_final_message"] else "<|im_end|>\n"
    ids = policy.tokenizer(assistant["content"] + closing, add_special_tokens=False)["input_ids"]
    before = policy.prepare(prompt)["input_ids"].tolist()
    tokens = torch.tensor([ids])
    predictions = policy.predictions(policy.encode([prompt]), tokens, torch.ones_like(tokens))
    expected: list[Any] = [None] * len(before)
    for place, logprobs in enumerate(predictions.map(lambda scores: scores)):
        best = logprobs.topk(request["prompt_logprobs"]).indices.tolist()
        told = dict.fromkeys([ids[place], *best])
        expected.append(
            {
                str(i): {
                    "logprob": max(logprobs[i].item(), -9999.0),
                    "rank": int((logprobs > logprobs[i]).sum()) + 1,
                    "decoded_token": policy.tokenizer.decode([i]),
                }
                for i in told
            }
        )
    choice = {"index": 0, "message": {"role": "assistant", "content": ""}, "finish_reason": "length"}
    return {"choices": [choice], "prompt_token_ids": before + ids, "prompt_logprobs": expected}


def main(model: str, port_file: str) -> None:
    torch.set_num_threads(1)
    Handler.policy = load_policy(model, torch.device("cpu"), torch.float32, block_tokens=[])
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Path(port_file).write_text(str(server.server_port))
    server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
