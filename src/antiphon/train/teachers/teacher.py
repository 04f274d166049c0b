"""Teachers score the student's own completions, as a signal besides or instead of rewards."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Protocol

import torch
from torch import Tensor

from antiphon.distributed.world import World
from antiphon.errors import ModelError
from antiphon.models.logits import Predictions
from antiphon.train.batch import Batch
from antiphon.types import Group

LEAST_ALIGNED = 0.5
"""The run stops below this share of aligned tokens."""


@dataclass(frozen=True)
class Judgment:
    """A teacher's scores of a step's rollout: N completions of A actions."""

    aligned: Tensor
    """[N, A] 1 on actions that the teacher scores, else 0."""
    judged: float
    """How many of the `expected` actions the teacher scores."""
    expected: float
    """How many actions it should score; framing that it does not share is excluded."""
    logprobs: Tensor | None = None
    """[N, A] at least `MIN_LOGPROB`, the student's own where not aligned; None if not requested."""

    @property
    def share(self) -> float:
        """Share of the expected actions that it scores."""
        return self.judged / max(self.expected, 1)


class Teacher(Protocol):
    """One model that scores the student's completions."""

    name: str

    def judge(self, groups: Sequence[Group], batch: Batch, sampled: bool) -> Judgment:
        """Score a step's rollout; with `sampled`, include log-probabilities of the sampled actions."""
        ...

    def divergence(self, student: Predictions, batch: Batch, algorithm: ModuleType, settings: Any) -> Tensor:
        """[M, 2] the algorithm's divergence at each of the M tokens, with gradients to the student, and how many tokens
        it compared; 0 where not aligned. `batch` is a part of the last judged rollout."""
        ...


class Teachers:
    """One teacher, or several whose divergences and log-probabilities are averaged by their weights.

    Averaging log-probabilities averages the teachers' policy gradients: Σ w_i (log p_student − log p_i).
    """

    def __init__(self, weighted: Sequence[tuple[float, Teacher]]) -> None:
        total = sum(weight for weight, _ in weighted)
        self._weighted = [(weight / total, teacher) for weight, teacher in weighted]
        self.seconds = 0.0
        """Total time spent scoring and comparing."""

    def judge(
        self, groups: Sequence[Group], batch: Batch, sampled: bool, world: World | None = None
    ) -> tuple[Judgment, dict[str, float]]:
        """The joint judgment of this rank's groups, and metrics over all ranks of `world`.

        Raises `ModelError` if a teacher scores less than `LEAST_ALIGNED` of a rollout.
        """
        empty = Judgment(batch.mask, 0, 0, batch.mask if sampled else None)
        with self._timed():
            judgments = [teacher.judge(groups, batch, sampled) if groups else empty for _, teacher in self._weighted]
        counted = torch.tensor([(one.judged, one.expected) for one in judgments], dtype=torch.float64)
        shares = [judged / max(expected, 1) for judged, expected in (world or World()).sum(counted).tolist()]
        for (_, teacher), of_teacher in zip(self._weighted, shares, strict=True):
            _require_aligned(teacher.name, of_teacher)
        weights = [weight for weight, _ in self._weighted]
        share = sum(w * one for w, one in zip(weights, shares, strict=True))
        aligned = torch.stack([one.aligned for one in judgments]).amax(0)
        logprobs = None
        if sampled:
            said = [one.logprobs for one in judgments if one.logprobs is not None]
            logprobs = torch.stack([w * one for w, one in zip(weights, said, strict=True)]).sum(0)
        joint = Judgment(aligned, share, 1, logprobs)
        return joint, {"teacher_aligned_share": share}

    def divergence(self, student: Predictions, batch: Batch, algorithm: ModuleType, settings: Any) -> Tensor:
        """[M, 2] the weighted mean of the teachers' divergences and of their numbers of compared tokens."""
        with self._timed():
            parts = [w * one.divergence(student, batch, algorithm, settings) for w, one in self._weighted]
            return torch.stack(parts).sum(0)

    @contextmanager
    def _timed(self) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self.seconds += time.perf_counter() - began


def _require_aligned(name: str, share: float) -> None:
    if share < LEAST_ALIGNED:
        raise ModelError(
            f"teacher {name} could score only {share:.0%} of the student's answers; a run needs {LEAST_ALIGNED:.0%}. "
            "The teacher's alphabet differs, or token boundaries fall on different characters; compare what both "
            "models write for a clip, give both the same framing (language=…), or use another teacher"
        )
