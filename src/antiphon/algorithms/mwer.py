"""MWER: minimize the expected number of word errors over sampled hypotheses.

Prabhavalkar et al. 2018, 1712.01818, eqs. 3 to 5.

p̂_i = p(y_i) / Σ_j p(y_j)            over the distinct hypotheses of a prompt
loss = −(1/P) Σ_p Σ_i p̂_i · (r_i − mean(r))

The paper's loss takes the negative edit count as reward: `reward: {name: wer, weighting: corpus, cap: null, scale: 1}`.
With `hypotheses: all` on a classifier, p̂ = p and the loss is exactly the negative expected reward.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from antiphon.algorithms.inputs import Needs, Outcomes, Scores
from antiphon.algorithms.policy_gradient import Loss, only_with_variance
from antiphon.algorithms.terms import group_mean, sequence_sums
from antiphon.config import Settings as StrictSettings


class Settings(StrictSettings):
    """Options of `algorithm: {name: mwer, …}`."""

    name: Literal["mwer"] = "mwer"
    weight: float = Field(default=1.0, ge=0, description="weight of this loss in a sum of several")
    normalization: Literal["sequence"] = Field(
        default="sequence", description="every prompt counts the same; the only option"
    )
    hypotheses: Literal["samples", "all"] = Field(
        default="samples", description="samples, or all labels of a classifier for the exact expectation"
    )


def needs(settings: Settings) -> Needs:
    """Samples, or every label of a classifier."""
    return Needs(source=settings.hypotheses, least_group=2)


def advantages(outcomes: Outcomes, settings: Settings) -> Tensor:
    """[P, G] rewards minus the mean over the group's distinct hypotheses; 0 for duplicates."""
    distinct = outcomes.valid & outcomes.first
    centered = outcomes.rewards - group_mean(outcomes.rewards, distinct)
    return only_with_variance(centered, outcomes.rewards, distinct)


def loss(scores: Scores, settings: Settings) -> Loss:
    """The negative expected advantage under the renormalized probabilities."""
    shape = (-1, scores.group_size)
    counted = (scores.first & (scores.weights > 0).any(-1)).view(shape)
    sequences = sequence_sums(scores.logprobs, scores.weights).view(shape)
    # Keeps the softmax finite for a group without any counted hypothesis; its advantages are 0.
    empty = ~counted.any(-1, keepdim=True)
    posterior = sequences.masked_fill(~counted & ~empty, -torch.inf).softmax(-1)
    per_prompt = scores.weights.sum(-1).view(shape).sum(-1)
    value = scores.advantages[:, 0].view(shape)
    expected = (posterior * value).sum(-1)
    metrics = {"distinct_share": (per_prompt * counted.float().mean(-1)).sum()}
    return -(per_prompt * expected).sum(), metrics
