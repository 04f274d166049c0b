"""RLOO: REINFORCE with a leave-one-out baseline (Ahmadian et al. 2024, 2402.14740, section 2.3).

A_i = r_i − mean(r_j of its group, j ≠ i)
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from antiphon.algorithms.grpo import loss
from antiphon.algorithms.inputs import Outcomes
from antiphon.algorithms.policy_gradient import (
    PolicyGradientSettings,
    comparing_needs,
    only_with_variance,
    shaped_rewards,
)
from antiphon.algorithms.terms import group_mean

needs = comparing_needs
__all__ = ["Settings", "advantages", "loss", "needs"]


class Settings(PolicyGradientSettings):
    """Options of `algorithm: {name: rloo, …}`."""

    name: Literal["rloo"] = "rloo"


def advantages(outcomes: Outcomes, settings: Settings) -> Tensor:
    """[P, G] rewards minus the mean of the group's others: k/(k−1) times the deviation from the mean of all k."""
    rewards, valid = shaped_rewards(outcomes, settings), outcomes.valid
    size = valid.sum(-1, keepdim=True)
    centered = (rewards - group_mean(rewards, valid)) * size / (size - 1).clamp(min=1)
    return only_with_variance(centered, rewards, valid)
