"""Dr.GRPO: GRPO without its length and difficulty biases (Liu et al. 2025, 2503.20783, section 3.2).

It does not divide by the group's standard deviation, and divides by a constant instead of each completion's length.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Tensor

from antiphon.algorithms.grpo import group_relative, loss
from antiphon.algorithms.inputs import Outcomes
from antiphon.algorithms.policy_gradient import PolicyGradientSettings, comparing_needs, shaped_rewards
from antiphon.algorithms.terms import NORMALIZATION, Normalization

needs = comparing_needs
__all__ = ["Settings", "advantages", "loss", "needs"]


class Settings(PolicyGradientSettings):
    """Options of `algorithm: {name: dr_grpo, …}`."""

    name: Literal["dr_grpo"] = "dr_grpo"
    clip_high: float = Field(default=0.2, ge=0, description="the ratio's upper bound is 1 + clip_high")
    normalization: Normalization = Field(default="constant", description=NORMALIZATION)


def advantages(outcomes: Outcomes, settings: Settings) -> Tensor:
    """[P, G] rewards minus the group's mean (section 3.2, eq. 2); 0 in zero-variance groups."""
    return group_relative(shaped_rewards(outcomes, settings), outcomes.valid)
