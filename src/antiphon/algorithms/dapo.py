"""DAPO: decoupled clip and dynamic sampling (Yu et al. 2025, 2503.14476, eqs. 8 to 13).

Clip-higher, a token-level mean, further rollouts to replace zero-variance groups, and a soft penalty on completions
that approach the length limit:

r_i ← r_i − penalty · min(max(|y_i| − (L − C), 0) / C, 1)      L = max_new_tokens, C = overlong_share · L
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from antiphon.algorithms.grpo import GroupRelativeSettings, group_relative, loss
from antiphon.algorithms.inputs import Outcomes
from antiphon.algorithms.policy_gradient import comparing_needs, shaped_rewards

needs = comparing_needs
__all__ = ["Settings", "advantages", "loss", "needs"]


class Settings(GroupRelativeSettings):
    """Options of `algorithm: {name: dapo, …}`."""

    name: Literal["dapo"] = "dapo"
    dynamic_sampling: int = Field(
        default=4, ge=0, description="at most this many further rollouts in a step, to replace zero-variance groups"
    )
    overlong_share: float = Field(default=0.2, gt=0, le=1, description="last share of max_new_tokens that is penalized")
    overlong_penalty: float = Field(default=1.0, ge=0, description="penalty at max_new_tokens; 0 for none")


def advantages(outcomes: Outcomes, settings: Settings) -> Tensor:
    """[P, G] shaped rewards minus the group's mean, divided by its standard deviation unless turned off."""
    rewards = shaped_rewards(outcomes, settings) - overlong(outcomes, settings)
    return group_relative(rewards, outcomes.valid, settings)


def overlong(outcomes: Outcomes, settings: Settings) -> Tensor:
    """[P, G] length penalty (eq. 13); 0 for models without a length limit."""
    if outcomes.max_new_tokens is None:
        return torch.zeros_like(outcomes.rewards)
    buffer = settings.overlong_share * outcomes.max_new_tokens
    excess = outcomes.lengths - (outcomes.max_new_tokens - buffer)
    return settings.overlong_penalty * (excess / buffer).clamp(0, 1)
