"""RAFT: supervised learning on the best of the model's own answers (Dong et al. 2023, 2304.06767, algorithm 1).

Of each prompt's candidates the `best` highest rewards are kept, of those the ones that reach `threshold`, and of all
that remain the `top_share` with the highest rewards. One step is one cycle: roll out, select, learn.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from antiphon.algorithms.inputs import Needs, Outcomes, Scores
from antiphon.algorithms.policy_gradient import Loss
from antiphon.algorithms.terms import Normalization
from antiphon.config import Settings as StrictSettings

RECIPE: dict[str, Any] = {
    "reward": {"name": "wer", "form": "accuracy"},
    "rollout.group_size": 4,
    "rollout.prompts_per_step": None,
    "train.steps": 6,
    "train.minibatches": 16,
    "train.save_every": 1,
    "train.keep_checkpoints": 6,
    "optimizer.lr": 5e-5,
    "optimizer.schedule": "exponential",
    "optimizer.decay": 0.85,
    "optimizer.min_lr_ratio": 0.1,
    "eval.every": 1,
}
"""Defaults of the recipe under this algorithm; a step is a cycle over the whole training set."""


class Settings(StrictSettings):
    """Options of `algorithm: {name: raft, …}`."""

    name: Literal["raft"] = "raft"
    weight: float = Field(default=1.0, ge=0, description="factor of this loss where several are summed")
    normalization: Normalization = Field(default="token", description="what one unit of the mean is")
    best: int = Field(default=1, ge=1, description="candidates kept of each prompt, the best ones")
    threshold: float | None = Field(default=None, description="least reward of a kept candidate; null for none")
    top_share: float = Field(default=1.0, gt=0, le=1, description="share kept of all that remain, the best ones")


def needs(settings: Settings) -> Needs:
    """Only what was selected counts."""
    return Needs(mean_over="rows")


def advantages(outcomes: Outcomes, settings: Settings) -> Tensor:
    """[P, G]: 1 for candidates that are kept, 0 for the others. Of equal rewards the earlier sample ranks first."""
    candidates = outcomes.valid & outcomes.first
    rewards = outcomes.rewards.masked_fill(~candidates, -torch.inf)
    rank = rewards.argsort(dim=-1, descending=True, stable=True).argsort(dim=-1)
    kept = candidates & (rank < settings.best)
    if settings.threshold is not None:
        kept &= rewards >= settings.threshold
    count = int(kept.sum())
    if settings.top_share < 1 and count:
        most = max(round(settings.top_share * count), 1)
        order = rewards.masked_fill(~kept, -torch.inf).flatten().argsort(descending=True, stable=True)
        top = torch.zeros(kept.numel(), dtype=torch.bool, device=kept.device)
        top[order[:most]] = True
        kept &= top.view_as(kept)
    return kept.float()


def loss(scores: Scores, settings: Settings) -> Loss:
    """The negative log-likelihood of what was kept."""
    total = -(scores.weights * scores.advantages * scores.logprobs).sum()
    return total, {"nll": total.detach()}
