"""A job for the worker: the worker's thread answers it, a coroutine waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import suppress

from antiphon.models.decoding import Row
from antiphon.models.word_times import Word, WordTimer
from antiphon.serve.question import Expected, Question
from antiphon.types import Completion

LEAST = -9999.0
"""Replaces a log-probability of minus infinity, which JSON cannot represent."""


class RefusedError(Exception):
    """The model does not support the request; the message says why."""


class Job:
    """`rows` answers to `question`, generated together. Create it within an event loop."""

    def __init__(
        self,
        question: Question,
        rows: Sequence[Row],
        streams: bool = False,
        top: int | None = None,
        ids: bool = False,
        stops: Sequence[str] = (),
        words: bool = False,
    ) -> None:
        """`streams` asks for word after each token, `ids` for the question's tokens, `top` for so many of the most
        probable ones at each of their places. An answer ends with the token that completes one of `stops` in its text.
        `words` asks when the words of the answers were said.
        """
        self.question, self.rows, self.streams = question, list(rows), streams
        self.top, self.ids, self.stops, self.words = top, ids, stops, words
        self.cancelled = False
        self.size = 0
        """Length of the question in positions, set by the worker."""
        self.prompt_ids: list[int] | None = None
        self.expected: list[Expected | None] = []
        self.completions: list[Completion] = []
        self.word_times: list[list[Word]] = []
        """Of each completion, if they are asked for."""
        self.error: Exception | None = None
        self.ended = False
        self._loop = asyncio.get_running_loop()
        self._event = asyncio.Event()

    @property
    def positions(self) -> int:
        """Positions that it occupies in the worker at maximum answer length."""
        return self.size + sum(row.sampling.max_new_tokens for row in self.rows)

    def complete(self, completions: Iterable[Completion], timer: WordTimer | None) -> None:
        """Set the answers, and end. Called by the worker's thread; `timer` runs the model.

        A failure ends this job alone: those decoded beside it are answered.
        """
        prompt, failure = self.question.prompt, None
        try:
            self.completions = list(completions)
            if self.words and timer and prompt and not self.cancelled:
                self.word_times = [timer(prompt, one) for one in self.completions]
        except Exception as error:
            failure = error
        self.end(failure)

    def notify(self) -> None:
        """Report progress. Called by the worker's thread."""
        with suppress(RuntimeError):  # The loop is closed, so nobody waits.
            self._loop.call_soon_threadsafe(self._event.set)

    def end(self, error: Exception | None = None) -> None:
        """Report the end. Called by the worker's thread."""
        self.error, self.ended = error, True
        self.notify()

    def cancel(self) -> None:
        """Cancel the job."""
        self.cancelled = True

    async def steps(self) -> AsyncIterator[None]:
        """Yields at each progress, and once more at the end. Raises the job's error.

        Leaving the loop early cancels the job.
        """
        try:
            ended = False
            while not ended:
                await self._event.wait()
                self._event.clear()
                ended = self.ended
                if self.error:
                    raise self.error
                yield
        finally:
            self.cancel()

    async def answered(self) -> list[Completion]:
        """Wait for all completions."""
        async for _ in self.steps():
            pass
        return self.completions
