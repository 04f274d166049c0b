"""GSPO: group sequence policy optimization (Zheng et al. 2025, 2507.18071, eqs. 5 to 7, 13 and 14).

s_i   = exp( (1 / |y_i|) · Σ_t [log p(token) − log p_old(token)] )
s_it  = sg[s_i] · p(token) / sg[p(token)]
J_it  = min(s_it A_it, clip(s_it, 1−ε_low, 1+ε_high) A_it)

s_i is the importance ratio of the whole completion, normalized by length, so its clip range is far narrower than a
token's. s_it equals s_i in value, and in gradient if all tokens of a completion share one advantage. If they do not,
each token's gradient follows its own advantage.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Tensor

from antiphon.algorithms.grpo import GroupRelativeSettings, group_relative
from antiphon.algorithms.inputs import Outcomes, Scores
from antiphon.algorithms.policy_gradient import (
    Loss,
    clipped_surrogate,
    comparing_needs,
    shaped_rewards,
)
from antiphon.algorithms.terms import NORMALIZATION, Normalization, sequence_sums

needs = comparing_needs


class Settings(GroupRelativeSettings):
    """Options of `algorithm: {name: gspo, …}`."""

    name: Literal["gspo"] = "gspo"
    clip_low: float = Field(default=3e-4, ge=0, lt=1, description="the ratio's lower bound is 1 − clip_low")
    clip_high: float = Field(default=4e-4, ge=0, description="the ratio's upper bound is 1 + clip_high")
    normalization: Normalization = Field(default="sequence", description=NORMALIZATION)


def advantages(outcomes: Outcomes, settings: Settings) -> Tensor:
    """[P, G] rewards minus the group's mean, divided by its standard deviation unless turned off (eq. 6)."""
    return group_relative(shaped_rewards(outcomes, settings), outcomes.valid, settings)


def loss(scores: Scores, settings: Settings) -> Loss:
    """The clipped surrogate with one sequence-level ratio for all tokens of a completion (eqs. 13 and 14)."""
    fixed = scores.logprobs.detach()
    length = (scores.weights > 0).sum(-1, keepdim=True).clamp(min=1)
    log_ratio = sequence_sums(fixed - scores.old_logprobs, scores.weights) / length
    return clipped_surrogate(scores, log_ratio + scores.logprobs - fixed, settings)
