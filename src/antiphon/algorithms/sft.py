"""SFT: supervised fine-tuning on the references, as a warm-up or as a control.

loss = −Σ_it w_it · log p(token of the reference) + ctc_weight · CTC(reference | audio states)

The trainer adds the second term (`antiphon.models.audio_ctc`), which needs the model; this module sees only tensors.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from antiphon.algorithms.inputs import Needs, Outcomes, Scores
from antiphon.algorithms.policy_gradient import Loss
from antiphon.algorithms.terms import NORMALIZATION, Normalization
from antiphon.config import Settings as StrictSettings

RECIPE: dict[str, Any] = {"rollout.group_size": 1, "optimizer.schedule": "cosine", "optimizer.warmup_steps": 10}
"""Defaults of the recipe under this algorithm."""


class Settings(StrictSettings):
    """Options of `algorithm: {name: sft, …}`."""

    name: Literal["sft"] = "sft"
    weight: float = Field(default=1.0, ge=0, description="weight of this loss in a sum of several")
    normalization: Normalization = Field(default="token", description=NORMALIZATION)
    ctc_weight: float = Field(default=0.0, ge=0, description="weight of an auxiliary CTC loss on the audio states")


def needs(settings: Settings) -> Needs:
    """References instead of samples, and no reward."""
    return Needs(source="labels", rewards=False, mean_over="all", audio_ctc=settings.ctc_weight > 0)


def advantages(outcomes: Outcomes, settings: Settings) -> Tensor:
    """[P, G] ones: every reference counts."""
    return torch.ones_like(outcomes.rewards)


def loss(scores: Scores, settings: Settings) -> Loss:
    """The negative log-likelihood of the references."""
    total = -(scores.weights * scores.logprobs).sum()
    return total, {"nll": total.detach()}
