"""What a student learns from, beside or instead of rewards: another model's opinion of the student's own tokens."""

from __future__ import annotations

from types import ModuleType
from typing import Any, Protocol

import torch
from torch import Tensor

from antiphon.models.logits import Predictions
from antiphon.train.batch import Batch


class Teacher(Protocol):
    """What the trainer needs of a teacher."""

    def logprobs(self, batch: Batch) -> Tensor:
        """The teacher's log-probabilities [N, A] of the sampled tokens, 0 on padding."""
        ...

    def divergence(self, student: Predictions, batch: Batch, algorithm: ModuleType, settings: Any) -> Tensor:
        """The algorithm's divergence [M] at each of the M tokens, with gradients to the student."""
        ...

    def metrics(self) -> dict[str, float]:
        """What the teacher says of the rollout it saw last."""
        ...


class PolicyTeacher:
    """A model in this process that has the student's vocabulary."""

    def __init__(self, policy: Any, temperature: float) -> None:
        self.policy = policy
        self.temperature = temperature

    @torch.no_grad()
    def logprobs(self, batch: Batch) -> Tensor:
        prefix = self.policy.encode(batch.prompts)
        return self.policy.logprobs(prefix, batch.tokens, batch.token_mask, self.temperature)

    def divergence(self, student: Predictions, batch: Batch, algorithm: ModuleType, settings: Any) -> Tensor:
        with torch.no_grad():
            prefix = self.policy.encode(batch.prompts)
            own = self.policy.predictions(prefix, batch.tokens, batch.token_mask, self.temperature)
        return student.map(lambda mine, theirs: algorithm.divergence(mine, theirs, settings), beside=own)

    def metrics(self) -> dict[str, float]:
        return {}
