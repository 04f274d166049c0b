"""The worker: one thread owns the model and answers jobs side by side. Nothing else touches the model.

Another one prepares them: it extracts features and tokenizes while the first decodes.
"""

from __future__ import annotations

import copy
import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Any, TypeVar

import torch

from antiphon.errors import AntiphonError
from antiphon.models.policy import Policy
from antiphon.models.word_times import Aligner, word_timer
from antiphon.serve.batching import batch_of
from antiphon.serve.job import Job, RefusedError
from antiphon.types import Seconds

STUCK: Seconds = 60.0
"""Seconds without progress after which a busy worker counts as stuck."""
ADMIT_SHARE, ADMIT_AFTER = 0.25, 4
"""Waiting jobs enter as one batch, as encoding prompts together is faster: once they are this share of those running,
or after so many steps."""
_log = logging.getLogger("antiphon.serve")
T = TypeVar("T")


class Worker:
    """Continuous batching: jobs enter between two steps, in order of arrival, while there is room."""

    def __init__(
        self, policy: Policy, max_tokens: int = 32768, max_rows: int = 64, aligner: Aligner | None = None
    ) -> None:
        """Runs at most `max_tokens` positions and `max_rows` answers at once; a larger job runs alone.

        `aligner` tells the times of words, for models that do not tell them themselves.
        """
        self.policy, self.max_tokens, self.max_rows = policy, max_tokens, max_rows
        self.steps = 0
        self._preparing = with_own_processor(policy)
        self._arrivals: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._prepared: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._new: set[Job] = set()
        """Jobs in the two queues, or between them."""
        self._waiting: deque[Job] = deque()
        self._batch = batch_of(policy, word_timer(policy, with_own_processor(aligner) if aligner else None))
        self._beat = time.monotonic()
        self._put_off = 0
        """Steps that the first waiting job has waited."""
        self._stopping = False
        self._threads = [threading.Thread(target=run, daemon=True) for run in (self._prepare, self._run)]
        for thread in self._threads:
            thread.start()

    def submit(self, job: Job) -> None:
        if not (self.waiting or self._batch.jobs):
            self._beat = time.monotonic()
        self._new.add(job)
        self._arrivals.put(job)

    def stop(self) -> None:
        """Answer all submitted jobs, then end."""
        self._arrivals.put(None)
        for thread in self._threads:
            thread.join()

    @property
    def waiting(self) -> int:
        """Number of waiting jobs."""
        return len(self._new) + len(self._waiting)

    @property
    def running(self) -> int:
        """Number of answers being generated."""
        return sum(len(job.rows) for job in list(self._batch.jobs))

    @property
    def trouble(self) -> str | None:
        """Why the worker is unhealthy, or None."""
        if not all(thread.is_alive() for thread in self._threads):
            return "the worker has stopped"
        since = time.monotonic() - self._beat
        if since > STUCK and (self.waiting or self._batch.jobs):
            return f"the worker has made no progress for {since:.0f} s"
        return None

    def _prepare(self) -> None:
        """The preparing thread: passes on supported jobs, in order of arrival."""
        while (job := self._arrivals.get()) is not None:
            try:
                if not job.cancelled:
                    job.size = job.question.size(self._preparing)
                    self._batch.hold(job, self._preparing)
                self._prepared.put(job)
                continue
            except AntiphonError as error:
                job.end(RefusedError(str(error)))
            except Exception as error:
                _log.exception("a question could not be prepared")
                job.end(error)
            self._new.discard(job)
        self._prepared.put(None)

    def _run(self) -> None:
        """The decoding thread."""
        while True:
            self._receive()
            self._beat = time.monotonic()
            if not (self._waiting or self._batch.jobs):
                if self._stopping:
                    return
                continue
            self._batch.drop_cancelled()
            self._admit()
            self._step()

    def _receive(self) -> None:
        """Collect prepared jobs; wait for them if idle."""
        wait = not (self._waiting or self._batch.jobs or self._stopping)
        while wait or not self._prepared.empty():
            job = self._prepared.get()
            wait = False
            if job is None:
                self._stopping = True
            else:
                self._waiting.append(job)
                self._new.discard(job)

    def _admit(self) -> None:
        if len(self._waiting) < ADMIT_SHARE * len(self._batch.jobs) and self._put_off < ADMIT_AFTER:
            self._put_off += bool(self._waiting)
            return
        self._put_off = 0
        chosen = self._fitting()
        if not chosen:
            return
        try:
            self._batch.admit(chosen)
        except Exception:
            if len(chosen) > 1:  # Retry one by one, so that only the faulty job is refused.
                for job in chosen:
                    self._admit_alone(job)
            else:
                self._admit_alone(chosen[0])

    def _admit_alone(self, job: Job) -> None:
        try:
            self._batch.admit([job])
        except AntiphonError as error:
            job.end(RefusedError(str(error)))
        except Exception as error:
            _log.exception("a question could not be begun")
            job.end(error)

    def _fitting(self) -> list[Job]:
        """The first waiting jobs that fit now."""
        held = self._batch.jobs
        tokens = self.max_tokens - sum(job.positions for job in held)
        rows = self.max_rows - sum(len(job.rows) for job in held)
        chosen: list[Job] = []
        while self._waiting:
            job = self._waiting[0]
            if job.cancelled:
                self._waiting.popleft().end()
                continue
            alone = not held and not chosen
            if not alone and (job.positions > tokens or len(job.rows) > rows):
                break
            tokens, rows = tokens - job.positions, rows - len(job.rows)
            chosen.append(self._waiting.popleft())
        return chosen

    @torch.no_grad()
    def _step(self) -> None:
        try:
            self._batch.step()
            self.steps += 1
        except Exception as error:
            _log.exception("decoding failed")
            self._fail(self._batch.clear(), error)

    def _fail(self, jobs: Sequence[Job], error: Exception) -> None:
        for job in jobs:
            job.end(error)


def with_own_processor(model: T) -> T:
    """A copy of a policy with its own processor, for another thread: fast tokenizers are not thread-safe.

    The policy finds the prepared prompts in the shared prompt cache.
    """
    own: Any = copy.copy(model)
    if hasattr(own, "processor"):
        own.processor = copy.deepcopy(own.processor)
        if hasattr(own, "tokenizer") and hasattr(own.processor, "tokenizer"):
            own.tokenizer = own.processor.tokenizer
    return own
