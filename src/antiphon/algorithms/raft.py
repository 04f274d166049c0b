"""RAFT: supervised fine-tuning on the model's best samples (Dong et al. 2023, 2304.06767, algorithm 1).

Each prompt keeps its `best` candidates by reward, if they reach `threshold`; of all that remain, the `top_share` with
the highest rewards are kept. With `top_share_first` the share is taken of the `best` candidates, and then the threshold
is applied. One step is one cycle: roll out, select, train.
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
    weight: float = Field(default=1.0, ge=0, description="weight of this loss in a sum of several")
    normalization: Normalization = Field(default="token", description=NORMALIZATION)
    best: int = Field(default=1, ge=1, description="candidates to keep per prompt, by reward")
    threshold: float | None = Field(default=None, description="minimum reward of a kept candidate; null for none")
    top_share: float = Field(
        default=1.0, gt=0, le=1, description="share of all remaining candidates to keep, by reward"
    )
    top_share_first: bool = Field(
        default=False, description="take that share before the threshold is applied, as halo-forge does"
    )


def needs(settings: Settings) -> Needs:
    """Samples and rewards; only the selected completions count in the loss."""
    return Needs(mean_over="rows", least_reward=settings.threshold)


def advantages(outcomes: Outcomes, settings: Settings) -> Tensor:
    """[P, G]: 1 for selected candidates, 0 for the others. Ties go to the earlier sample; duplicates are left out."""
    candidates = outcomes.valid & outcomes.first & outcomes.mask.any(-1)
    rewards = outcomes.rewards.masked_fill(~candidates, -torch.inf)
    rank = rewards.argsort(dim=-1, descending=True, stable=True).argsort(dim=-1)
    kept = candidates & (rank < settings.best)
    good = rewards >= (-torch.inf if settings.threshold is None else settings.threshold)
    if settings.top_share_first:
        return (_top(rewards, kept, settings.top_share) & good).float()
    return _top(rewards, kept & good, settings.top_share).float()


def _top(rewards: Tensor, kept: Tensor, share: float) -> Tensor:
    """Of what is `kept` [P, G], the `share` with the highest rewards, and at least one."""
    count = int(kept.sum())
    if share == 1 or not count:
        return kept
    most = max(round(share * count), 1)
    order = rewards.masked_fill(~kept, -torch.inf).flatten().argsort(descending=True, stable=True)
    top = torch.zeros(kept.numel(), dtype=torch.bool, device=kept.device)
    top[order[:most]] = True
    return kept & top.view_as(kept)


def loss(scores: Scores, settings: Settings) -> Loss:
    """The negative log-likelihood of the selected completions."""
    total = -(scores.weights * scores.advantages * scores.logprobs).sum()
    return total, {"nll": total.detach()}
