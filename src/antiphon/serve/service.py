"""A served model, as routes use it: worker, tokenizer, limits and counters."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, BinaryIO, TypeVar

import numpy as np
from fastapi import Request

from antiphon.models.decoding import Row
from antiphon.models.pieces import Pieces
from antiphon.models.policy import Policy, Sampling
from antiphon.serve.errors import RequestError
from antiphon.serve.job import Job
from antiphon.serve.limits import Limits
from antiphon.serve.metrics import Metrics
from antiphon.serve.question import Question
from antiphon.serve.upload import Uploads
from antiphon.serve.worker import Worker
from antiphon.types import Seconds

T = TypeVar("T")


@dataclass
class Service:
    """A served model."""

    name: str
    policy: Policy
    worker: Worker
    limits: Limits
    piece_s: Seconds
    """Longer recordings are split for transcription."""
    metrics: Metrics
    uploads: Uploads
    created: int
    """Unix time."""
    accepts: list[str]
    """Supported inputs, of "audio", "language", "prompt" and "messages"."""
    words: bool
    """Whether it tells when words were said."""
    requests: int = 0
    """Requests being answered."""
    tokenizer: Any = field(init=False)
    """A copy, as only the worker may use the model's own: fast tokenizers are not thread-safe."""

    def __post_init__(self) -> None:
        self.tokenizer = copy.deepcopy(getattr(self.policy, "tokenizer", None))

    def ask(
        self,
        question: Question,
        sampling: Sampling,
        *,
        n: int = 1,
        seed: int | None = None,
        alternatives: int = 0,
        streams: bool = False,
        top: int | None = None,
        ids: bool = False,
        stops: Sequence[str] = (),
        words: bool = False,
    ) -> Job:
        """Submit a job with `n` answers and this many `alternatives` per token (see `Job`)."""
        generator = np.random.default_rng(seed)
        draws = [None if sampling.temperature == 0 else generator.random(sampling.max_new_tokens) for _ in range(n)]
        rows = [Row(sampling, uniforms, top=alternatives) for uniforms in draws]
        job = Job(question, rows, streams, top, ids, stops, words)
        self.worker.submit(job)
        return job

    @asynccontextmanager
    async def waveform(self, file: BinaryIO, name: str, field: str = "file") -> AsyncIterator[np.ndarray]:
        """The waveform of an upload at the model's rate, held until the block ends (see `Uploads.waveform`).

        Raises `RequestError` 413 or 400 for an unusable recording, and for a model without audio.
        """
        if self.policy.rate == 0:
            raise RequestError(
                400, f"{self.name} is a text model and takes no audio; use /v1/chat/completions", "model"
            )
        async with self.uploads.waveform(file, name, self.policy.rate, field) as waveform:
            self.metrics.audio_seconds.inc(len(waveform) / self.policy.rate)
            yield waveform

    def pieces(self, token_ids: Sequence[int]) -> list[str]:
        """The text of each token."""
        return Pieces(self.tokenizer)(token_ids)

    def decoded(self, token_ids: Sequence[int]) -> str:
        return self.tokenizer.decode(list(token_ids), skip_special_tokens=True)

    async def attend(self, request: Request, work: Coroutine[Any, Any, T]) -> T:
        """Run `work`, cancelling it if the client disconnects or the time is up.

        Raises `RequestError` 504 on timeout; nobody reads the error after a disconnect.
        """
        task, gone = asyncio.create_task(work), asyncio.create_task(_gone(request))
        self.requests += 1
        try:
            await asyncio.wait({task, gone}, timeout=self.limits.answer_s, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            if gone.done():
                raise RequestError(499, "the client has left")
            raise RequestError(504, f"no answer within {self.limits.answer_s:g} s; send less, or ask again later")
        finally:
            self.requests -= 1
            for one in (task, gone):
                one.cancel()
            with suppress(BaseException):
                await asyncio.gather(task, gone, return_exceptions=True)


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
