"""GRPO: group-relative policy optimization (Shao et al. 2024, 2402.03300, eq. 3), with the clip range of DAPO.

A_i   = r_i − mean(r of its group)                       (÷ std, if asked; Dr.GRPO 2503.20783 advises against)
ρ_it  = exp(log p(token) − log p_old(token))
J_it  = min(ρ A, clip(ρ, 1−ε_low, 1+ε_high) A)
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Tensor

from antiphon.algorithms.inputs import Outcomes, Scores
from antiphon.algorithms.policy_gradient import (
    Loss,
    PolicyGradientSettings,
    clipped_surrogate,
    comparing_needs,
    only_with_variance,
    shaped_rewards,
)
from antiphon.algorithms.terms import Deviation, group_mean, group_std

needs = comparing_needs


class GroupRelativeSettings(PolicyGradientSettings):
    """Options of the algorithms that normalize rewards within a group."""

    std_normalization: bool = Field(default=True, description="divide advantages by the group's standard deviation")
    std: Deviation = Field(
        default="sample", description="that deviation: of a sample (n − 1; TRL, verl, NeMo-RL), or of a population (n)"
    )


class Settings(GroupRelativeSettings):
    """Options of `algorithm: {name: grpo, …}`."""

    name: Literal["grpo"] = "grpo"
    std_normalization: bool = Field(default=False, description="divide advantages by the group's standard deviation")


def advantages(outcomes: Outcomes, settings: Settings) -> Tensor:
    """[P, G] rewards minus the group's mean; exactly 0 in zero-variance groups."""
    return group_relative(shaped_rewards(outcomes, settings), outcomes.valid, settings)


def group_relative(rewards: Tensor, valid: Tensor, settings: GroupRelativeSettings | None = None) -> Tensor:
    """Rewards [P, G] minus their group's mean, divided by its standard deviation as `settings` say; not without any.

    Exactly 0 in zero-variance groups and where not `valid` [P, G].
    """
    centered = rewards - group_mean(rewards, valid)
    if settings is not None and settings.std_normalization:
        centered = centered / (group_std(rewards, valid, settings.std) + 1e-6)
    return only_with_variance(centered, rewards, valid)


def loss(scores: Scores, settings: PolicyGradientSettings) -> Loss:
    """The clipped surrogate of one micro-batch (eq. 3), and its metrics as weighted sums."""
    return clipped_surrogate(scores, scores.logprobs - scores.old_logprobs, settings)
