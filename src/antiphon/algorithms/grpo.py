"""GRPO: group-relative policy optimisation (Shao et al. 2024, 2402.03300), with the clip range of DAPO.

A_i   = r_i − mean(r of its group)                       (÷ std, if asked; Dr.GRPO 2503.20783 advises against)
ρ_it  = exp(log p(token) − log p_engine(token))
loss  = Σ_it w_it · [ −min(ρ A, clip(ρ, 1−ε_low, 1+ε_high) A) + β · KL_it ]
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from antiphon.algorithms.terms import KLEstimator, Normalisation, has_spread, kl_estimate


class Settings(BaseModel):
    """Options of `algorithm: {name: grpo, …}`."""

    model_config = ConfigDict(extra="forbid")

    name: Literal["grpo"] = "grpo"
    clip_low: float = Field(default=0.2, ge=0, lt=1, description="the ratio's lower bound is 1 − clip_low")
    clip_high: float = Field(default=0.28, ge=0, description="the ratio's upper bound is 1 + clip_high")
    normalisation: Normalisation = Field(default="token", description="what one unit of the mean is")
    std_normalisation: bool = Field(default=False, description="divide advantages by the group's standard deviation")
    beta: float = Field(default=0.0, ge=0, description="weight of the KL to the initial model; 0 keeps no reference")
    kl: KLEstimator = Field(default="k3", description="estimator of that KL")


def needs_reference(settings: Settings) -> bool:
    """Whether the loss reads a reference model's log-probabilities."""
    return settings.beta > 0


def advantages(rewards: Tensor, settings: Settings) -> Tensor:
    """Rewards [P, G] to advantages [P, G]: centred on the group's mean, exactly 0 in a constant group."""
    centred = rewards - rewards.mean(-1, keepdim=True)
    if settings.std_normalisation:
        centred = centred / (rewards.std(-1, keepdim=True, correction=0) + 1e-6)
    return torch.where(has_spread(rewards)[:, None], centred, 0.0)


def loss(
    logprobs: Tensor,
    old_logprobs: Tensor,
    advantages: Tensor,
    weights: Tensor,
    reference_logprobs: Tensor | None,
    settings: Settings,
) -> tuple[Tensor, dict[str, Tensor]]:
    """The clipped surrogate of one micro-batch, and its metrics as weighted sums.

    All inputs are [N, T]; `weights` come from `token_weights` over the whole minibatch and are 0 on padding, so
    micro-batches add up. Only `logprobs` carries gradients. Metrics add up too: each is Σ weight × value, which the
    trainer divides by Σ weight.
    """
    log_ratio = logprobs - old_logprobs
    ratio = log_ratio.exp()
    clipped = ratio.clamp(1 - settings.clip_low, 1 + settings.clip_high)
    surrogate = torch.minimum(ratio * advantages, clipped * advantages)
    total = -(weights * surrogate).sum()
    with torch.no_grad():
        low = (ratio < 1 - settings.clip_low) & (advantages < 0)
        high = (ratio > 1 + settings.clip_high) & (advantages > 0)
        metrics = {
            "clip_low_share": (weights * low).sum(),
            "clip_high_share": (weights * high).sum(),
            "kl_old": (weights * kl_estimate(old_logprobs, logprobs, "k3")).sum(),
        }
    if reference_logprobs is not None and settings.beta > 0:
        divergence = (weights * kl_estimate(logprobs, reference_logprobs, settings.kl)).sum()
        total = total + settings.beta * divergence
        metrics["kl_reference"] = divergence.detach()
    return total, metrics
