"""A teacher in this process with the student's vocabulary: it scores the sampled tokens directly."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from antiphon.algorithms.inputs import MIN_LOGPROB
from antiphon.errors import ModelError
from antiphon.models.logits import Predictions
from antiphon.models.policy import Policy, TokenPolicy, emits_tokens
from antiphon.train.batch import Batch
from antiphon.train.score import rollout_logprobs
from antiphon.train.teachers.resample import ClipResampler
from antiphon.train.teachers.teacher import Judgment
from antiphon.types import Group, Prompt


class SameTokensTeacher:
    """A `Teacher` with the student's vocabulary and answer format (see `same_tokens`)."""

    def __init__(self, name: str, policy: TokenPolicy, temperature: float, max_tokens: int) -> None:
        self.name, self.policy = name, policy
        self.temperature, self.max_tokens = temperature, max_tokens
        self._resampler = ClipResampler(policy.rate)

    @torch.no_grad()
    def judge(self, groups: Sequence[Group], batch: Batch, sampled: bool) -> Judgment:
        batch = self._resampler.resample(batch)
        logprobs = None
        if sampled:
            logprobs = rollout_logprobs(self.policy, batch, self.temperature, self.max_tokens).clamp(min=MIN_LOGPROB)
        return Judgment(batch.mask, 1, 1, logprobs)

    def divergence(self, student: Predictions, batch: Batch, algorithm: ModuleType, settings: Any) -> Tensor:
        with torch.no_grad():
            prefix = self.policy.encode(self._resampler.prompts(batch.prompts))
            own = self.policy.predictions(prefix, batch.tokens, batch.token_mask, self.temperature)
        return student.map(lambda mine, theirs: algorithm.divergence(mine, theirs, settings), beside=own)


def same_tokens(student: Policy, teacher: Policy) -> bool:
    """Whether the teacher can score the student's tokens directly: same vocabulary, stop token and framing."""
    if not (emits_tokens(student) and emits_tokens(teacher)):
        return False
    if student.tokenizer.get_vocab() != teacher.tokenizer.get_vocab():
        return False
    return all(short_answer(student, language) == short_answer(teacher, language) for language in (None, "English"))


def short_answer(policy: Policy, language: str | None) -> list[int] | None:
    """The token ids of a short answer of this model, to compare framing; None if it blocks one of them."""
    try:
        return policy.target(Prompt("", None, policy.rate), "a", language)
    except ModelError:
        return None
