"""Shared by the policy-gradient algorithms: options, shaped rewards, and a loss from a per-token objective.

    loss = Σ_it w_it · [ −c_it · J_it + β · KL_it − η · H_it ]

J is the algorithm's objective, c the importance-sampling correction for an engine whose log-probabilities differ from
the trainer's, KL the divergence from the initial model, H the entropy.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from antiphon.algorithms.inputs import Needs, Outcomes, Scores
from antiphon.algorithms.terms import (
    NORMALIZATION,
    KLEstimator,
    Normalization,
    has_variance,
    importance_ratio,
    kl_estimate,
    sequence_sums,
)
from antiphon.config import Settings as StrictSettings

Loss = tuple[Tensor, dict[str, Tensor]]


class PolicyGradientSettings(StrictSettings):
    """Options of every policy-gradient algorithm."""

    weight: float = Field(default=1.0, ge=0, description="weight of this loss in a sum of several")
    clip_low: float = Field(default=0.2, ge=0, lt=1, description="the ratio's lower bound is 1 − clip_low")
    clip_high: float = Field(default=0.28, ge=0, description="the ratio's upper bound is 1 + clip_high")
    normalization: Normalization = Field(default="token", description=NORMALIZATION)
    beta: float = Field(
        default=0.0, ge=0, description="coefficient of the KL to the initial model; 0 loads no reference model"
    )
    kl: KLEstimator = Field(default="k3", description="estimator of that KL in the loss; in the reward it is k1")
    kl_in: Literal["loss", "reward"] = Field(default="loss", description="where the KL penalty is applied")
    entropy_bonus: float = Field(default=0.0, ge=0, description="coefficient of the entropy bonus")
    dynamic_sampling: int = Field(
        default=0, ge=0, description="at most this many further rollouts in a step, to replace zero-variance groups"
    )
    correction: Literal["none", "truncate", "mask"] = Field(
        default="none", description="importance-sampling correction where engine and trainer score tokens differently"
    )
    correction_level: Literal["token", "sequence"] = Field(
        default="token", description="one correction per token, or per completion"
    )
    correction_cap: float = Field(default=2.0, ge=1, description="cap on the ratio p_trainer / p_engine")
    teacher_coefficient: float = Field(
        default=0.0, ge=0, description="weight of log p_teacher − log p_student, added to each token's advantage"
    )
    credit: Literal["sequence", "alignment"] = Field(
        default="sequence", description="alignment: each token is credited for the edits it is aligned with"
    )
    credit_weight: float = Field(default=0.1, ge=0, description="λ: the weight of one edit in the alignment credit")
    dual_clip: float | None = Field(
        default=None, gt=1, description="c: where A < 0 the objective is at least c · A; verl's default is 3"
    )


def policy_gradient_needs(settings: PolicyGradientSettings, greedy: bool = False, compares: bool = False) -> Needs:
    """The needs of these options. KL, entropy and teacher terms have a gradient in zero-variance groups too.

    `compares` says that rewards are compared within a group, so that a group of one teaches nothing; a teacher's
    term and alignment credit need no comparison.
    """
    kl_loss = settings.beta > 0 and settings.kl_in == "loss"
    everywhere = kl_loss or settings.entropy_bonus > 0 or settings.teacher_coefficient > 0
    return Needs(
        reference=settings.beta > 0,
        teacher="logprobs" if settings.teacher_coefficient > 0 else None,
        greedy=greedy,
        token_level=settings.credit == "alignment" or settings.entropy_bonus > 0,
        alignment_credit=settings.credit == "alignment",
        entropy=settings.entropy_bonus > 0,
        recomputed_old=settings.correction != "none",
        dynamic_sampling=settings.dynamic_sampling,
        least_group=2 if compares and not settings.teacher_coefficient and settings.credit == "sequence" else 1,
        mean_over="all" if everywhere else "groups",
    )


def shaped_rewards(outcomes: Outcomes, settings: PolicyGradientSettings) -> Tensor:
    """Rewards [P, G]; with `kl_in: reward`, minus β times each completion's KL, summed over its actions."""
    if settings.kl_in == "loss" or outcomes.reference_kl is None:
        return outcomes.rewards
    return outcomes.rewards - settings.beta * outcomes.reference_kl.sum(-1)


def comparing_needs(settings: PolicyGradientSettings) -> Needs:
    """`policy_gradient_needs` of an algorithm that compares rewards within a group."""
    return policy_gradient_needs(settings, compares=True)


def only_with_variance(advantages: Tensor, rewards: Tensor, valid: Tensor) -> Tensor:
    """`advantages` [P, G], exactly 0 in zero-variance groups and for completions that are not `valid`."""
    return torch.where(has_variance(rewards, valid)[:, None] & valid, advantages, 0.0)


def token_advantages(scores: Scores, settings: PolicyGradientSettings) -> Tensor:
    """Advantages [N, A] plus the teacher's log-ratio (on-policy distillation as a reward, 2306.13649)."""
    if scores.teacher_logprobs is None or settings.teacher_coefficient == 0:
        return scores.advantages
    log_ratio = scores.teacher_logprobs - scores.old_logprobs
    return scores.advantages + settings.teacher_coefficient * torch.where(scores.weights > 0, log_ratio, 0.0)


def clipped_surrogate(scores: Scores, log_ratio: Tensor, settings: PolicyGradientSettings) -> Loss:
    """PPO's clipped surrogate (1707.06347, eq. 7), J = min(ρA, clip(ρ, 1−ε_low, 1+ε_high) A), for ρ = exp(`log_ratio`)
    [N, A], bounded (`importance_ratio`).

    With `dual_clip` c, J = max(J, cA) where A < 0 (Ye et al. 2020, 1912.09729, eq. 5): a completion that has become
    far more probable although it is bad has a bounded loss, and no gradient.
    """
    advantages, ratio = token_advantages(scores, settings), importance_ratio(log_ratio)
    low, high = 1 - settings.clip_low, 1 + settings.clip_high
    objective = torch.minimum(ratio * advantages, ratio.clamp(low, high) * advantages)
    metrics = clip_shares(scores, ratio, advantages, settings)
    if settings.dual_clip is not None:
        floor = settings.dual_clip * advantages
        beyond = (advantages < 0) & (objective < floor)
        objective = torch.where(beyond, floor, objective)
        metrics["clip_dual_share"] = (scores.weights * beyond).sum()
    return total_loss(scores, objective, settings, metrics)


@torch.no_grad()
def clip_shares(
    scores: Scores, ratio: Tensor, advantages: Tensor, settings: PolicyGradientSettings
) -> dict[str, Tensor]:
    """The weighted share of tokens whose gradient is clipped to zero, at the lower and at the upper bound."""
    low = (ratio < 1 - settings.clip_low) & (advantages < 0)
    high = (ratio > 1 + settings.clip_high) & (advantages > 0)
    return {"clip_low_share": (scores.weights * low).sum(), "clip_high_share": (scores.weights * high).sum()}


def total_loss(scores: Scores, objective: Tensor, settings: PolicyGradientSettings, metrics: dict[str, Tensor]) -> Loss:
    """The loss from a per-token `objective` [N, A] to maximize, and the metrics, all as weighted sums."""
    weights = scores.weights
    correction = engine_correction(scores, settings)
    total = -(weights * correction * objective).sum()
    kl_old = kl_estimate(scores.old_logprobs, scores.logprobs.detach(), "k3")
    metrics = {**metrics, "kl_old": (weights * kl_old).sum()}
    if settings.correction != "none":
        metrics["correction_mean"] = (weights * correction).sum()
    if scores.reference_logprobs is not None and settings.beta > 0:
        divergence = (weights * kl_estimate(scores.logprobs, scores.reference_logprobs, settings.kl)).sum()
        metrics["kl_reference"] = divergence.detach()
        if settings.kl_in == "loss":
            total = total + settings.beta * divergence
    if scores.teacher_logprobs is not None and settings.teacher_coefficient > 0:
        metrics["teacher_advantage"] = (weights * (scores.teacher_logprobs - scores.old_logprobs)).sum()
    if scores.entropy is not None and settings.entropy_bonus > 0:
        total = total - settings.entropy_bonus * (weights * scores.entropy).sum()
    return total, metrics


@torch.no_grad()
def engine_correction(scores: Scores, settings: PolicyGradientSettings) -> Tensor:
    """c [N, A]: the importance ratio p_old / p_engine of the token or of the whole completion, bounded.

    truncate  min(ratio, cap)                            (truncated importance sampling, Yao et al. 2025)
    mask      ratio where it lies in [1/cap, cap], else 0 (masked importance sampling, 2510.18855, IcePop)
    """
    if settings.correction == "none":
        return torch.ones_like(scores.weights)
    log_ratio = scores.old_logprobs - scores.engine_logprobs
    if settings.correction_level == "sequence":
        log_ratio = sequence_sums(log_ratio, scores.weights).expand_as(log_ratio)
    ratio, cap = importance_ratio(log_ratio), settings.correction_cap
    if settings.correction == "truncate":
        return ratio.clamp(max=cap)
    return torch.where((ratio >= 1 / cap) & (ratio <= cap), ratio, 0.0)
