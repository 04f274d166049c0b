"""Batching of jobs: continuously, with jobs entering and leaving between tokens, or in whole batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from antiphon.errors import ModelError
from antiphon.models.decoding import DecodesTokens, Decoding
from antiphon.models.policy import Policy
from antiphon.models.word_times import WordTimer
from antiphon.serve.job import Job
from antiphon.serve.question import begin, expect
from antiphon.serve.stops import cut


def batch_of(policy: Policy, timer: WordTimer | None = None) -> TokenByToken | AtOnce:
    """The batching that suits the model; `timer` tells the times of words."""
    return TokenByToken(policy, timer) if isinstance(policy, DecodesTokens) else AtOnce(policy, timer)


class TokenByToken:
    """Continuous batching, for autoregressive models."""

    def __init__(self, policy: DecodesTokens, timer: WordTimer | None) -> None:
        self.policy, self._timer = policy, timer
        self.jobs: list[Job] = []
        self._decoding = Decoding(policy)

    def hold(self, job: Job, policy: Any) -> None:
        """Hold the answers to the positions that the question leaves, with `policy` to prepare it.

        Raises `ModelError` if it leaves none, or fewer than were asked for.
        """
        taken = job.question.taken(policy)
        for row in job.rows:
            row.sampling = self.policy.limits.within(row.sampling, taken)

    @torch.no_grad()
    def admit(self, jobs: Sequence[Job]) -> None:
        """Start `jobs`."""
        prefix = begin(self.policy, [job.question for job in jobs])
        for job in jobs:
            if job.ids:
                job.prompt_ids = job.question.ids(self.policy)
            if job.top is not None:
                job.expected = expect(self.policy, job.question, job.top)
        self._decoding.admit(prefix, [job.rows for job in jobs])
        self.jobs += jobs

    def step(self) -> None:
        self._decoding.step()
        for job in list(self.jobs):
            self._end_at_stops(job)
            if not any(row.active for row in job.rows):
                self.jobs.remove(job)
                job.complete((self.policy.completion(row) for row in job.rows), self._timer)
            elif job.streams:
                job.notify()

    def _end_at_stops(self, job: Job) -> None:
        for row in job.rows if job.stops else ():
            text = self.policy.tokenizer.decode(row.token_ids, skip_special_tokens=True)
            if row.active and cut(text, job.stops)[1]:
                row.finish_reason = "stop"

    def drop_cancelled(self) -> None:
        for job in self.jobs:
            if job.cancelled:
                for row in job.rows:
                    row.finish_reason = row.finish_reason or "length"

    def clear(self) -> list[Job]:
        """Give up all jobs, and return them."""
        lost, self.jobs, self._decoding = self.jobs, [], Decoding(self.policy)
        return lost


class AtOnce:
    """Static batching, for models that answer a clip in one forward pass."""

    def __init__(self, policy: Policy, timer: WordTimer | None) -> None:
        self.policy, self._timer = policy, timer
        self.jobs: list[Job] = []

    def hold(self, job: Job, policy: Policy) -> None:
        """Nothing: the clip determines the answer's length. Raises `ModelError` if it was asked for another."""
        if not all(row.sampling.shorten for row in job.rows):
            raise ModelError(
                "this model answers a clip as a whole, so max_new_tokens cannot limit the answer; leave it out"
            )

    def admit(self, jobs: Sequence[Job]) -> None:
        self.jobs += jobs

    @torch.no_grad()
    def step(self) -> None:
        """Answer all jobs with the same sampling options as the first."""
        if not self.jobs:
            return
        first = self.jobs[0].rows[0].sampling
        alike = [job for job in self.jobs if job.rows[0].sampling == first and len(job.rows) == len(self.jobs[0].rows)]
        self._answer(alike)

    def _answer(self, jobs: list[Job]) -> None:
        rows = [row for job in jobs for row in job.rows]
        uniforms = None if rows[0].greedy else np.stack([row.uniforms for row in rows if row.uniforms is not None])
        prefix = self.policy.encode([job.question.prompt for job in jobs if job.question.prompt])
        answers = self.policy.sample(prefix, len(jobs[0].rows), rows[0].sampling, uniforms)
        for job, completions in zip(jobs, answers, strict=True):
            self.jobs.remove(job)
            job.complete(completions, self._timer)

    def drop_cancelled(self) -> None:
        for job in [job for job in self.jobs if job.cancelled]:
            self.jobs.remove(job)
            job.end()

    def clear(self) -> list[Job]:
        """Give up all jobs, and return them."""
        lost, self.jobs = self.jobs, []
        return lost
