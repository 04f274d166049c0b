"""REINFORCE++: returns normalized over all tokens of the batch (Hu et al. 2025, 2501.03262, eqs. 4 to 7).

R_it = a_i − β Σ_{s ≥ t} [log p_old(token s) − log p_reference(token s)]        the KL from token t on
A_it = (R_it − mean(R)) / std(R)                                               over all tokens of the batch

a_i = r_i, or r_i − mean(r of its group) with `group_baseline`. Discounts are 1. OpenRLHF, the authors' code, and verl
compute the same; verl's deviation divides by one token less, and its baseline variant sums the KL over the completion.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from antiphon.algorithms.grpo import loss
from antiphon.algorithms.inputs import Needs, Outcomes
from antiphon.algorithms.policy_gradient import PolicyGradientSettings, policy_gradient_needs
from antiphon.algorithms.terms import group_mean, has_variance

__all__ = ["Settings", "advantages", "loss", "needs"]


class Settings(PolicyGradientSettings):
    """Options of `algorithm: {name: reinforce_pp, …}`."""

    name: Literal["reinforce_pp"] = "reinforce_pp"
    kl_in: Literal["loss", "reward"] = Field(default="reward", description="where the KL penalty is applied")
    group_baseline: bool = Field(default=True, description="subtract the group's mean reward first")


def needs(settings: Settings) -> Needs:
    """With the group baseline, more than one completion of a prompt."""
    return policy_gradient_needs(settings, compares=settings.group_baseline)


def advantages(outcomes: Outcomes, settings: Settings) -> Tensor:
    """[P, G, A] returns normalized over the batch's tokens.

    With the group baseline and without a KL in the reward, exactly 0 in zero-variance groups.
    """
    rewards, valid = outcomes.rewards, outcomes.valid
    values = rewards - group_mean(rewards, valid) if settings.group_baseline else rewards
    counted = outcomes.mask.bool() & valid[..., None]
    returns = values[..., None].expand(counted.shape)
    charged = outcomes.reference_kl if settings.kl_in == "reward" else None
    if charged is not None:
        kl = torch.where(counted, charged, 0.0)
        returns = returns - settings.beta * kl.flip(-1).cumsum(-1).flip(-1)
    given = returns[counted].double()
    # Before the first update the KL is rounding, from which nothing should be learned.
    if len(given) == 0 or float(given.max() - given.min()) <= (1e-8 if charged is None else 1e-4):
        return torch.zeros_like(returns)
    normalized = (returns - given.mean()) / given.std(correction=0).clamp(min=1e-4)
    if settings.group_baseline and charged is None:
        counted = counted & has_variance(rewards, valid)[:, None, None]
    return torch.where(counted, normalized, 0.0).to(rewards.dtype)
