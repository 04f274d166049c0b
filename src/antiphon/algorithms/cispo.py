"""CISPO clips the importance ratio and keeps every token's gradient (MiniMax-M1, 2506.13585, eqs. 4 and 5).

J_it = sg[ clip(ρ_it, 1−ε_low, 1+ε_high) ] · A_it · log p(token)
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Tensor

from antiphon.algorithms.grpo import GroupRelativeSettings, group_relative
from antiphon.algorithms.inputs import Outcomes, Scores
from antiphon.algorithms.policy_gradient import (
    Loss,
    comparing_needs,
    shaped_rewards,
    token_advantages,
    total_loss,
)
from antiphon.algorithms.terms import importance_ratio

needs = comparing_needs


class Settings(GroupRelativeSettings):
    """Options of `algorithm: {name: cispo, …}`."""

    name: Literal["cispo"] = "cispo"
    clip_low: float = Field(default=1.0, ge=0, le=1, description="the ratio's lower bound is 1 − clip_low; 1 for none")
    clip_high: float = Field(default=1.0, ge=0, description="the ratio's upper bound is 1 + clip_high")
    dual_clip: None = Field(default=None, description="not for this algorithm, whose objective is bounded as it is")


def advantages(outcomes: Outcomes, settings: Settings) -> Tensor:
    """[P, G] rewards minus the group's mean, divided by its standard deviation unless turned off."""
    return group_relative(shaped_rewards(outcomes, settings), outcomes.valid, settings)


def loss(scores: Scores, settings: Settings) -> Loss:
    """REINFORCE weighted by the clipped importance ratio: no token's gradient is clipped away."""
    given = token_advantages(scores, settings)
    ratio = importance_ratio((scores.logprobs - scores.old_logprobs).detach())
    low, high = 1 - settings.clip_low, 1 + settings.clip_high
    weight = ratio.clamp(low, high)
    metrics = {
        "clip_low_share": (scores.weights * (ratio < low)).sum(),
        "clip_high_share": (scores.weights * (ratio > high)).sum(),
    }
    return total_loss(scores, weight * given * scores.logprobs, settings, metrics)
