"""An OpenAI-compatible server that tells the log-probabilities of a prompt, as vLLM's does (`prompt_logprobs`)."""

from __future__ import annotations

import base64
import io
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import httpx2
import soundfile

from antiphon.config.schema import TeacherConfig
from antiphon.errors import ModelError
from antiphon.types import Prompt

PAUSE = 0.5
"""Seconds before the second try of a request; twice as long before each further one."""


@dataclass(frozen=True)
class Place:
    """One token of a prompt, and what the model expected there."""

    token: int
    text: str
    logprob: float
    top: dict[int, float]
    """Log-probabilities of the most probable tokens, and of the one that stands there."""


@dataclass(frozen=True)
class Question:
    """A prompt with an answer of the student's, whose text is `said`; `ended` unless it was cut short."""

    prompt: Prompt
    said: str
    ended: bool


class Server:
    """Asks about many answers side by side. Raises `ModelError` that names the server for whatever goes wrong."""

    def __init__(self, config: TeacherConfig) -> None:
        assert config.url is not None
        self.config, self.url = config, config.url.rstrip("/")
        self._client = httpx2.Client(timeout=config.timeout_s)
        self.model = self._model()

    def ask(self, questions: Sequence[Question]) -> list[list[Place]]:
        """The last places of each prompt: those of the answer, and of what the chat template puts around it."""
        with ThreadPoolExecutor(self.config.concurrency) as pool:
            return list(pool.map(self._ask, questions))

    def _model(self) -> str:
        """The model asked for, else the only one that is served."""
        what = "the list of its models"
        served = [str(one["id"]) for one in self._call("GET", "/models", what)["data"]]
        wanted = self.config.model or (served[0] if len(served) == 1 else None)
        if wanted not in served:
            raise ModelError(f"teacher {self.url} serves {', '.join(served)}; name one of them as teacher.model")
        return wanted

    def _ask(self, question: Question) -> list[Place]:
        what = f"prompt {question.prompt.id!r}"
        request = {
            "model": self.model,
            "messages": messages(question),
            # The answer stands in the prompt: closed as the chat template closes it, or open where it was cut short.
            "add_generation_prompt": False,
            "continue_final_message": not question.ended,
            "prompt_logprobs": self.config.top_k,
            "return_token_ids": True,
            "max_tokens": 1,
            "temperature": 0.0,
        }
        answer = self._call("POST", "/chat/completions", what, request)
        ids, expected = answer.get("prompt_token_ids"), answer.get("prompt_logprobs")
        if not ids or not expected or len(ids) != len(expected):
            raise ModelError(
                f"teacher {self.url}, {what}: the answer lacks prompt_logprobs and prompt_token_ids, one a token; "
                "serve the model with vLLM 0.10.2 or later"
            )
        last = len(question.said.encode()) + 32
        return [_place(token, one) for token, one in list(zip(ids, expected, strict=True))[-last:] if one]

    def _call(self, method: str, path: str, what: str, body: Any = None) -> dict[str, Any]:
        for tries in range(self.config.retries + 1):
            if tries:
                time.sleep(PAUSE * 2 ** (tries - 1))
            try:
                response = self._client.request(method, self.url + path, json=body)
            except httpx2.HTTPError as error:
                failure = f"{type(error).__name__}: {error}"
                continue
            if response.status_code == 200:
                return self._json(response, what)
            failure = f"status {response.status_code}: {response.text[:200]}"
            if response.status_code < 500 and response.status_code != 429:
                break
        raise ModelError(
            f"teacher {self.url} gave no answer to {what} in {tries + 1} tries ({failure}); "
            "see that it runs and has room, or change teacher.url, teacher.timeout_s or teacher.top_k"
        )

    def _json(self, response: Any, what: str) -> dict[str, Any]:
        try:
            return response.json()
        except ValueError as error:
            raise ModelError(f"teacher {self.url}, {what}: the answer is no JSON: {response.text[:200]}") from error


def messages(question: Question) -> list[dict[str, Any]]:
    """The conversation: context, clip and instruction, answer."""
    prompt, content = question.prompt, []
    if prompt.waveform is not None:
        content.append({"type": "input_audio", "input_audio": {"data": _wav(prompt), "format": "wav"}})
    if prompt.instruction:
        content.append({"type": "text", "text": prompt.instruction})
    system = [{"role": "system", "content": prompt.context}] if prompt.context else []
    return [*system, {"role": "user", "content": content}, {"role": "assistant", "content": question.said}]


def _wav(prompt: Prompt) -> str:
    """The clip as base64 of a WAV file of floats, so that nothing is rounded."""
    file = io.BytesIO()
    assert prompt.waveform is not None
    soundfile.write(file, prompt.waveform, prompt.rate, format="WAV", subtype="FLOAT")
    return base64.b64encode(file.getvalue()).decode()


def _place(token: int, expected: dict[str, dict[str, Any]]) -> Place:
    top = {int(key): float(one["logprob"]) for key, one in expected.items()}
    return Place(token, expected[str(token)].get("decoded_token") or "", top[token], top)
