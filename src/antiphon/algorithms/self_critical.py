"""SCST, self-critical sequence training: the greedy completion's reward is the baseline.

Rennie et al. 2017, 1612.00563, section 3.

A_i = r_i − r(greedy completion of the same prompt)
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from antiphon.algorithms.grpo import loss
from antiphon.algorithms.inputs import Needs, Outcomes, asked_for
from antiphon.algorithms.policy_gradient import PolicyGradientSettings, policy_gradient_needs, shaped_rewards

__all__ = ["Settings", "advantages", "loss", "needs"]


class Settings(PolicyGradientSettings):
    """Options of `algorithm: {name: self_critical, …}`."""

    name: Literal["self_critical"] = "self_critical"


def needs(settings: Settings) -> Needs:
    """One greedy completion per prompt, besides what every policy gradient needs."""
    return policy_gradient_needs(settings, greedy=True)


def advantages(outcomes: Outcomes, settings: Settings) -> Tensor:
    """[P, G] rewards minus the greedy completion's; nonzero even in zero-variance groups."""
    greedy = asked_for(outcomes.greedy_rewards, "greedy_rewards")
    difference = shaped_rewards(outcomes, settings) - greedy[:, None]
    return torch.where(outcomes.valid, difference, 0.0)
