"""REINFORCE++: advantages normalized over the whole batch (Hu et al. 2025, 2501.03262, eqs. 4 to 7).

r_i ← r_i − β Σ_t [log p_old(token) − log p_reference(token)]
A_i = (a_i − mean(a)) / std(a),   a_i = r_i, or r_i − mean(r of its group) with `group_baseline`
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from antiphon.algorithms.grpo import loss
from antiphon.algorithms.inputs import Outcomes
from antiphon.algorithms.policy_gradient import (
    PolicyGradientSettings,
    only_with_variance,
    policy_gradient_needs,
    shaped_rewards,
)
from antiphon.algorithms.terms import group_mean

needs = policy_gradient_needs
__all__ = ["Settings", "advantages", "loss", "needs"]


class Settings(PolicyGradientSettings):
    """Options of `algorithm: {name: reinforce_pp, …}`."""

    name: Literal["reinforce_pp"] = "reinforce_pp"
    kl_in: Literal["loss", "reward"] = Field(default="reward", description="where the KL penalty is applied")
    group_baseline: bool = Field(default=True, description="subtract the group's mean reward first")


def advantages(outcomes: Outcomes, settings: Settings) -> Tensor:
    """[P, G] rewards normalized over the batch; with the group baseline exactly 0 in zero-variance groups."""
    rewards, valid = shaped_rewards(outcomes, settings), outcomes.valid
    values = rewards - group_mean(rewards, valid) if settings.group_baseline else rewards
    counted = values[valid]
    if len(counted) == 0 or float(counted.max() - counted.min()) <= 1e-8:
        return torch.zeros_like(values)
    normalized = torch.where(valid, (values - counted.mean()) / (counted.std(correction=0) + 1e-6), 0.0)
    return only_with_variance(normalized, rewards, valid) if settings.group_baseline else normalized
