"""OPD: on-policy distillation, the student learns from a teacher at every token of its own answers.

forward_kl  KL(teacher ‖ student)                               (Hinton et al. 2015, 1503.02531)
reverse_kl  KL(student ‖ teacher)                               (MiniLLM, 2306.08543; GKD, 2306.13649, eq. 3)
js          ½ KL(teacher ‖ m) + ½ KL(student ‖ m), m their mean (GKD, 2306.13649, section 3.1)
sampled     ρ · (log p_student − log p_teacher) of the sampled token, a policy gradient whose mean is the reverse KL

The first three compare distributions: on the whole vocabulary, or on the union of both sides' `top_k` tokens with
all others as one bucket, which bounds the full divergence from below. A temperature τ softens both sides and the
result is multiplied by τ², so that gradients keep their size.
"""

from __future__ import annotations

from math import log
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from antiphon.algorithms.inputs import Needs, Outcomes, Scores
from antiphon.algorithms.policy_gradient import Loss
from antiphon.algorithms.terms import Normalisation
from antiphon.config import Settings as StrictSettings

RECIPE: dict[str, Any] = {"rollout.group_size": 1, "optimizer.schedule": "cosine", "optimizer.warmup_steps": 10}
"""Defaults of the recipe under this algorithm."""
_LEAST = -100.0
"""Log-probabilities below this are taken for it, so that a token that one side rules out costs much, not infinity."""


class Settings(StrictSettings):
    """Options of `algorithm: {name: opd, …}`."""

    name: Literal["opd"] = "opd"
    weight: float = Field(default=1.0, ge=0, description="factor of this loss where several are summed")
    normalisation: Normalisation = Field(default="token", description="what one unit of the mean is")
    loss: Literal["forward_kl", "reverse_kl", "js", "sampled"] = Field(
        default="forward_kl", description="how student and teacher are compared"
    )
    top_k: int | None = Field(
        default=32, ge=1, description="tokens of each side compared one by one; null for the whole vocabulary"
    )
    temperature: float = Field(default=1.0, gt=0, description="softens both distributions; not for `sampled`")


def needs(settings: Settings) -> Needs:
    """A teacher, and no reward."""
    if settings.loss == "sampled":
        return Needs(rewards=False, teacher="logprobs", mean_over="all")
    return Needs(rewards=False, teacher="distributions", token_level=True, mean_over="all")


def advantages(outcomes: Outcomes, settings: Settings) -> Tensor:
    """[P, G]: none, the teacher's are made token by token."""
    return torch.zeros_like(outcomes.rewards)


def loss(scores: Scores, settings: Settings) -> Loss:
    """The mean divergence, or for `sampled` the policy gradient of it."""
    if settings.loss != "sampled":
        assert scores.divergence is not None
        total = (scores.weights * scores.divergence).sum()
        return total, {"divergence": total.detach()}
    assert scores.teacher_logprobs is not None
    disagreement = scores.old_logprobs - scores.teacher_logprobs.clamp(min=_LEAST)
    ratio = (scores.logprobs - scores.old_logprobs).exp()
    total = (scores.weights * ratio * disagreement).sum()
    return total, {"divergence": (scores.weights * disagreement).sum()}


def divergence(student: Tensor, teacher: Tensor, settings: Settings) -> Tensor:
    """[m] between log-probabilities [m, V] of the student, which carries gradients, and of the teacher.

    The vocabularies agree index by index as far as the shorter goes; what lies beyond must be blocked.
    """
    size = min(student.shape[-1], teacher.shape[-1])
    student, teacher = (_softened(side[:, :size], settings.temperature) for side in (student, teacher))
    if settings.top_k is None:
        return _compare(student, teacher, settings)
    with torch.no_grad():
        count = min(settings.top_k, size)
        own, theirs = (side.topk(count, -1).indices for side in (student, teacher))
        repeated = (theirs[:, :, None] == own[:, None, :]).any(-1)
        ids = torch.cat([own, theirs], -1)
        repeated = torch.cat([torch.zeros_like(repeated), repeated], -1)
    return on_support(student.gather(-1, ids), teacher.gather(-1, ids), repeated, settings)


def on_support(student: Tensor, teacher: Tensor, left_out: Tensor, settings: Settings) -> Tensor:
    """[m] from log-probabilities [m, K] of K tokens, all others being one further event of each side.

    `left_out` [m, K] are columns that do not count: repeats, and padding.
    """
    student, teacher = (_with_tail(side.masked_fill(left_out, -torch.inf)) for side in (student, teacher))
    return _compare(student, teacher, settings)


def _softened(logprobs: Tensor, temperature: float) -> Tensor:
    return logprobs if temperature == 1.0 else (logprobs / temperature).log_softmax(-1)


def _with_tail(logprobs: Tensor) -> Tensor:
    """[m, K+1]: the log-probability of everything else as a last column."""
    covered = logprobs.logsumexp(-1, keepdim=True).clamp(max=-1e-7)
    return torch.cat([logprobs, torch.log(-torch.expm1(covered))], -1)


def _compare(student: Tensor, teacher: Tensor, settings: Settings) -> Tensor:
    student, teacher = student.clamp(min=_LEAST), teacher.clamp(min=_LEAST)
    if settings.loss == "forward_kl":
        value = _kl(teacher, student)
    elif settings.loss == "reverse_kl":
        value = _kl(student, teacher)
    else:
        mean = torch.logaddexp(student, teacher) - log(2)
        value = 0.5 * (_kl(teacher, mean) + _kl(student, mean))
    return value * settings.temperature**2


def _kl(left: Tensor, right: Tensor) -> Tensor:
    """KL(left ‖ right) [m] of log-probabilities [m, K]."""
    return (left.exp() * (left - right)).sum(-1)
