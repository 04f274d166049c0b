"""OPD: on-policy distillation. The student learns from a teacher at every token of its own samples.

forward_kl  KL(teacher ‖ student)                               (Hinton et al. 2015, 1503.02531)
reverse_kl  KL(student ‖ teacher)                               (MiniLLM, 2306.08543; GKD, 2306.13649)
js          ½ KL(teacher ‖ m) + ½ KL(student ‖ m), m their mean (GKD, eq. 1 with β = ½)
sampled     ρ · (log p_student − log p_teacher) of the sampled token, a policy gradient that estimates the reverse KL

The first three compare distributions: over the whole vocabulary, or over the union of both models' `top_k` tokens with
all others as one bucket, a lower bound of the full divergence. A temperature τ softens both distributions, and the
result is multiplied by τ², which keeps the scale of the gradients. Means are over the tokens that the teacher scores.
"""

from __future__ import annotations

from math import log
from typing import Any, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from antiphon.algorithms.inputs import MIN_LOGPROB, Needs, Outcomes, Scores, asked_for
from antiphon.algorithms.policy_gradient import Loss
from antiphon.algorithms.terms import NORMALIZATION, Normalization, importance_ratio
from antiphon.config import Settings as StrictSettings

RECIPE: dict[str, Any] = {"rollout.group_size": 1, "optimizer.schedule": "cosine", "optimizer.warmup_steps": 10}
"""Defaults of the recipe under this algorithm."""


class Settings(StrictSettings):
    """Options of `algorithm: {name: opd, …}`."""

    name: Literal["opd"] = "opd"
    weight: float = Field(default=1.0, ge=0, description="weight of this loss in a sum of several")
    normalization: Normalization = Field(default="token", description=NORMALIZATION)
    loss: Literal["forward_kl", "reverse_kl", "js", "sampled"] = Field(
        default="forward_kl", description="divergence between student and teacher"
    )
    top_k: int | None = Field(
        default=32, ge=1, description="most probable tokens of each model to compare; null for the whole vocabulary"
    )
    temperature: float = Field(default=1.0, gt=0, description="softens both distributions; not for `sampled`")

    @model_validator(mode="after")
    def _distributions(self) -> Settings:
        if self.loss == "sampled" and self.temperature != 1.0:
            raise ValueError("'temperature' softens distributions, but loss 'sampled' compares none; leave it out")
        return self


def needs(settings: Settings) -> Needs:
    """A teacher, and no reward."""
    if settings.loss == "sampled":
        return Needs(rewards=False, teacher="logprobs", mean_over="aligned")
    return Needs(rewards=False, teacher="distributions", token_level=True, mean_over="aligned")


def advantages(outcomes: Outcomes, settings: Settings) -> Tensor:
    """[P, G] zeros: the loss reads the teacher token by token."""
    return torch.zeros_like(outcomes.rewards)


def loss(scores: Scores, settings: Settings) -> Loss:
    """The mean divergence, or its policy gradient for `sampled`."""
    if settings.loss != "sampled":
        total = (scores.weights * asked_for(scores.divergence, "divergence")).sum()
        return total, {
            "divergence": total.detach(),
            "valid_topk_mean": (scores.weights * asked_for(scores.compared, "compared")).sum(),
        }
    disagreement = scores.old_logprobs - asked_for(scores.teacher_logprobs, "teacher_logprobs")
    ratio = importance_ratio(scores.logprobs - scores.old_logprobs)
    total = (scores.weights * ratio * disagreement).sum()
    return total, {"divergence": (scores.weights * disagreement).sum()}


def divergence(student: Tensor, teacher: Tensor, settings: Settings) -> Tensor:
    """[m, 2]: the divergence between log-probabilities [m, V] of the student, which carry gradients, and of the
    teacher; and how many tokens were compared one by one, those that neither model blocks.

    The vocabularies agree index by index up to the end of the shorter one; ids beyond must be blocked.
    """
    size = min(student.shape[-1], teacher.shape[-1])
    student, teacher = (_softened(side[:, :size], settings.temperature) for side in (student, teacher))
    if settings.top_k is None:
        return _compare(student, teacher, settings, size)
    with torch.no_grad():
        count = min(settings.top_k, size)
        own, theirs = (side.topk(count, -1).indices for side in (student, teacher))
        repeated = (theirs[:, :, None] == own[:, None, :]).any(-1)
        left_out = torch.cat([torch.zeros_like(repeated), repeated], -1)
        ids = torch.cat([own, theirs], -1)
    student, teacher = (_on(ids, left_out, side) for side in (student, teacher))
    return _compare(student, teacher, settings, 2 * count)


def divergence_from_top(student: Tensor, ids: Tensor, teacher: Tensor, settings: Settings) -> Tensor:
    """`divergence` from a teacher's most probable tokens alone: their `ids` [m, K] and log-probabilities [m, K].

    Rows with fewer than K repeat an id with −inf. All tokens that the teacher does not list form one bucket.
    """
    left_out = teacher.isneginf()
    rest = -torch.expm1(teacher.logsumexp(-1, keepdim=True).clamp(max=0.0))
    teacher = torch.cat([teacher, rest.log()], -1)
    return _compare(_on(ids, left_out, student), teacher, settings, ids.shape[-1])


def _softened(logprobs: Tensor, temperature: float) -> Tensor:
    return logprobs if temperature == 1.0 else (logprobs / temperature).log_softmax(-1)


def _on(ids: Tensor, left_out: Tensor, logprobs: Tensor) -> Tensor:
    """[m, K+1] from log-probabilities [m, V]: of `ids` [m, K], −inf where `left_out`, then of all others together.

    The others are summed directly: one minus the sum over `ids` would lose a small remainder to rounding.
    """
    others = logprobs.scatter(-1, ids, 2 * MIN_LOGPROB).logsumexp(-1, keepdim=True)
    return torch.cat([logprobs.gather(-1, ids).masked_fill(left_out, -torch.inf), others], -1)


def _compare(student: Tensor, teacher: Tensor, settings: Settings, tokens: int) -> Tensor:
    """[m, 2] as `divergence`, from log-probabilities [m, K] of the same events; the first `tokens` events are tokens,
    not buckets."""
    compared = ((student > MIN_LOGPROB) & (teacher > MIN_LOGPROB))[:, :tokens].sum(-1)
    student, teacher = student.clamp(min=MIN_LOGPROB), teacher.clamp(min=MIN_LOGPROB)
    if settings.loss == "forward_kl":
        value = _kl(teacher, student)
    elif settings.loss == "reverse_kl":
        value = _kl(student, teacher)
    else:
        mean = torch.logaddexp(student, teacher) - log(2)
        value = 0.5 * (_kl(teacher, mean) + _kl(student, mean))
    return torch.stack([value * settings.temperature**2, compared.to(value)], -1)


def _kl(left: Tensor, right: Tensor) -> Tensor:
    """KL(left ‖ right) [m] of log-probabilities [m, K]."""
    return (left.exp() * (left - right)).sum(-1)
