"""An OpenAI-compatible server that returns log-probabilities of prompt tokens (`prompt_logprobs`), such as vLLM."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from antiphon.audio.encode import wav
from antiphon.client import API_KEY
from antiphon.client.http import Client
from antiphon.client.messages import conversation
from antiphon.config.teacher import TeacherConfig
from antiphon.errors import ConfigError, ModelError
from antiphon.types import Prompt


@dataclass(frozen=True)
class Place:
    """One token of a prompt, with the model's most probable tokens at its position."""

    token: int
    text: str
    logprob: float
    top: dict[int, float]
    """Log-probabilities of the most probable tokens and of `token`."""


@dataclass(frozen=True)
class Question:
    """A prompt with the student's answer `said`; `ended` is False if it was cut short."""

    prompt: Prompt
    said: str
    ended: bool


class Server:
    """Scores many answers concurrently. Raises `ModelError` that names the server for any failed request."""

    def __init__(self, config: TeacherConfig) -> None:
        assert config.url is not None
        self.config, self.url = config, config.url.rstrip("/")
        self._client = Client(
            config.url,
            config.timeout_s,
            tries=config.retries + 1,
            key_variable=_key_variable(config),
            name=f"teacher {self.url}",
            remedy="check that it runs and has free slots, or change teacher.url, teacher.timeout_s or teacher.top_k",
        )
        self.model = self._model()

    def ask(self, questions: Sequence[Question]) -> list[list[Place]]:
        """The last tokens of each prompt: those of the answer and of the chat template around it."""
        with ThreadPoolExecutor(self.config.concurrency) as pool:
            return list(pool.map(self._ask, questions))

    def _model(self) -> str:
        """`teacher.model`, else the only model that is served. Raises `ModelError` if there is no such model."""
        what = "the list of its models"
        served = [str(one["id"]) for one in self._client.call("GET", "/models", what)["data"]]
        wanted = self.config.model or (served[0] if len(served) == 1 else None)
        if wanted not in served:
            raise ModelError(f"teacher {self.url} serves {', '.join(served)}; name one of them as teacher.model")
        return wanted

    def _ask(self, question: Question) -> list[Place]:
        what = f"prompt {question.prompt.id!r}"
        request = {
            "model": self.model,
            "messages": messages(question),
            # The answer is part of the prompt: closed by the chat template, or left open if it was cut short.
            "add_generation_prompt": False,
            "continue_final_message": not question.ended,
            "prompt_logprobs": self.config.top_k,
            "return_token_ids": True,
            "max_tokens": 1,
            "temperature": 0.0,
        }
        answer = self._client.call("POST", "/chat/completions", what, json=request)
        ids, expected = answer.get("prompt_token_ids"), answer.get("prompt_logprobs")
        if not ids or not expected or len(ids) != len(expected):
            raise ModelError(
                f"teacher {self.url}, {what}: the response lacks prompt_logprobs and prompt_token_ids for each token; "
                "serve the model with vLLM 0.10.2 or later"
            )
        last = len(question.said.encode()) + 32
        return [_place(token, one) for token, one in list(zip(ids, expected, strict=True))[-last:] if one]


def messages(question: Question) -> list[dict[str, Any]]:
    """The chat messages: context, clip and instruction, answer."""
    prompt = question.prompt
    # As floats, to avoid rounding.
    clip = None if prompt.waveform is None else wav(prompt.waveform, prompt.rate)
    asked = conversation(prompt.instruction, clip, prompt.context)
    return [*asked, {"role": "assistant", "content": question.said}]


def _key_variable(config: TeacherConfig) -> str:
    named = config.api_key_env
    if named is not None and not os.environ.get(named):
        raise ConfigError(
            f"'teacher.api_key_env' is {named!r}, but there is no such environment variable; set it to the key of "
            f"{config.url}"
        )
    return named or API_KEY


def _place(token: int, expected: dict[str, dict[str, Any]]) -> Place:
    top = {int(key): float(one["logprob"]) for key, one in expected.items()}
    return Place(token, expected[str(token)].get("decoded_token") or "", top[token], top)
