"""A model behind an OpenAI-compatible URL, asked for transcriptions or in a chat."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from antiphon.audio.encode import wav
from antiphon.client.http import Client
from antiphon.client.messages import conversation
from antiphon.config import Config
from antiphon.data.rows import BadRow
from antiphon.data.scans import OnProgress
from antiphon.errors import ConfigError, ModelError
from antiphon.evaluate.recognize import Portion, Transcript
from antiphon.tasks.load import find_task, prompter
from antiphon.tasks.request import READS
from antiphon.text.language_tag import untagged
from antiphon.types import Example, Hertz, Prompt, Text, Words

RATE: Hertz = 16000
"""Clips are sent as 16-bit WAV at this rate, whatever they are."""


def is_url(model: str) -> bool:
    return model.startswith(("http://", "https://"))


@dataclass(frozen=True)
class RemoteModel:
    """A `Subject` that a server holds."""

    endpoint: Client
    served_model: str
    side_by_side: int
    chat: bool = False
    """Whether it is asked by `POST /chat/completions`, with the clip in the message, and not for a transcription."""
    max_new_tokens: int = 256
    """Longest answer in a chat; how long transcriptions may be is the server's to say."""

    @classmethod
    def connect(cls, endpoint: Client, served_model: str | None, *how: Any) -> RemoteModel:
        """`served_model` may be left out where the server has one only; `how` is the rest.

        Raises `ModelError` when the server does not answer, `ConfigError` when it has to be said which model is meant.
        """
        if served_model is None:
            listed = endpoint.call("GET", "/models", "the list of its models")
            names = [str(one["id"]) for one in listed.get("data", [])]
            if len(names) != 1:
                raise ConfigError(
                    f"{endpoint.url} serves {', '.join(names) or 'no model'}; name one with --served-model"
                )
            served_model = names[0]
        return cls(endpoint, served_model, *how)

    @property
    def name(self) -> str:
        return f"{self.served_model} at {self.endpoint.url}"

    @property
    def reads(self) -> frozenset[Words]:
        return READS if self.chat else frozenset({"context"})

    def setup(self, config: Config) -> dict[str, Any]:
        """Raises `ConfigError` for a task or a language that such requests have no place for."""
        if not find_task(config.task).transcribes and not self.chat:
            raise ConfigError(f"{self.endpoint.url} is asked for transcripts, not for task {config.task}; add --chat")
        if config.language != "auto" and self.chat:
            raise ConfigError(
                f"a chat has no place for --language {config.language}; leave it out, or leave out --chat"
            )
        return {
            "url": self.endpoint.url,
            "served_model": self.served_model,
            "precision": "unknown",
            "device": "http",
            "task": config.task,
            "language": config.language,
            "chat": self.chat,
            "max_new_tokens": self.max_new_tokens,
        }

    def fitting(
        self,
        examples: Sequence[Example],
        source: str,
        config: Config,
        on_progress: OnProgress,
        seconds: pa.ChunkedArray | None = None,
    ) -> tuple[Sequence[Example], list[BadRow]]:
        """All: the server knows its model, and splits long recordings itself."""
        return examples, []

    def portions(self, examples: Sequence[Example], config: Config) -> Iterator[Portion]:
        """One portion an answer, as they come; its time is that since the answer before it."""
        prompt, ask = prompter(config, RATE, reads=self.reads), self._chat if self.chat else self._transcribe
        with ThreadPoolExecutor(self.side_by_side) as pool:
            began = time.perf_counter()
            asked = {pool.submit(lambda example: ask(prompt(example)), example): example for example in examples}
            try:
                for done in as_completed(asked):
                    transcript = done.result()
                    now = time.perf_counter()
                    yield Portion([asked[done].id], [transcript], now - began)
                    began = now
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def _transcribe(self, prompt: Prompt) -> Transcript:
        form = {"model": self.served_model, "response_format": "json", "temperature": "0"}
        form |= {"language": prompt.language} if prompt.language else {}
        form |= {"prompt": prompt.context} if prompt.context else {}
        files = {"file": ("clip.wav", _wav(prompt), "audio/wav")}
        answer = self.endpoint.call("POST", "/audio/transcriptions", _called(prompt), data=form, files=files)
        text = self._text(answer.get("text"), answer, prompt)
        return Transcript(Text(text), prompt.seconds, None, prompt.language, prompt.instruction)

    def _chat(self, prompt: Prompt) -> Transcript:
        request = {
            "model": self.served_model,
            "messages": conversation(prompt.instruction, _wav(prompt), prompt.context),
            "temperature": 0,
            "max_tokens": self.max_new_tokens,
        }
        answer = self.endpoint.call("POST", "/chat/completions", _called(prompt), json=request)
        choice = next(iter(answer.get("choices") or []), {})
        text = self._text((choice.get("message") or {}).get("content"), answer, prompt)
        reason = choice.get("finish_reason")
        # A server of Qwen3-ASR leaves its language tag in the answers of a chat.
        said = untagged(text, forced=not prompt.transcribe)
        ended = reason if reason in ("stop", "length") else None
        return Transcript(said, prompt.seconds, ended, None, prompt.instruction)

    def _text(self, text: Any, answer: dict[str, Any], prompt: Prompt) -> str:
        if not isinstance(text, str):
            raise ModelError(f"{self.endpoint.url} answered {_called(prompt)} without a text: {str(answer)[:200]}")
        return text.strip()


def _called(prompt: Prompt) -> str:
    return f"example {prompt.id!r}"


def _wav(prompt: Prompt) -> bytes | None:
    return None if prompt.waveform is None else wav(prompt.waveform, prompt.rate, "int16")
