"""Auxiliary losses: on how a model processes a micro-batch (expert routing, audio states), not on its completions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from antiphon.config import Config
from antiphon.models.audio_ctc import AudioCTC
from antiphon.models.policy import Policy
from antiphon.models.router_loss import RouterLoss
from antiphon.train.batch import Batch
from antiphon.train.objectives import Objective, weights_in_sum


@dataclass(frozen=True)
class Auxiliary:
    """One auxiliary loss and how to compute it."""

    name: str
    """Of its metric."""
    coefficient: float
    recording: Callable[[], AbstractContextManager[None]]
    """Records one `encode` and one scoring of its completions."""
    loss: Callable[[Batch, Any], Tensor]
    """(micro-batch, its prefix) -> the loss of what was recorded: per row [N], or a scalar []."""


def auxiliary_losses(
    policy: Policy, objectives: Sequence[Objective], config: Config, ctc: AudioCTC | None
) -> list[Auxiliary]:
    """The auxiliary losses with a nonzero weight in the recipe."""
    found = []
    if config.train.router_aux_loss_coef:
        router = RouterLoss(policy.model)
        found.append(
            Auxiliary(
                "router_aux_loss",
                config.train.router_aux_loss_coef,
                router.recording,
                lambda batch, prefix: router.loss(prefix.mask, batch.token_mask),
            )
        )
    if ctc is not None:
        weight = sum(one.settings.weight * one.settings.ctc_weight for one in objectives if one.needs.audio_ctc)
        found.append(Auxiliary("ctc", weight, ctc.recording, lambda batch, prefix: ctc.loss(batch.prompts)))
    return found


def auxiliary_sum(
    auxiliaries: Sequence[Auxiliary],
    values: Sequence[Tensor],
    weights: Tensor,
    scales: Sequence[Tensor],
    objectives: Sequence[Objective],
) -> tuple[Tensor, dict[str, Tensor]]:
    """The sum of the auxiliary losses of a micro-batch, to add to its loss, and the metric of each.

    For each algorithm, the `values` are averaged over rows with its token weights `weights` [N, A, O], whose sums over
    the minibatch are the `scales`. These means are averaged with the algorithms' `weight` settings.
    """
    factors = weights_in_sum(objectives)
    shares = [one / sum(factors) if sum(factors) else 1 / len(factors) for one in factors]
    added = torch.zeros((), device=weights.device)
    metrics: dict[str, Tensor] = {one.name: added for one in auxiliaries}
    for share, scale, of_loss in zip(shares, scales, weights.unbind(-1), strict=True):
        beside = torch.zeros((), device=weights.device)
        for one, value in zip(auxiliaries, values, strict=True):
            total = (of_loss.sum(-1) * value).sum()
            beside = beside + one.coefficient * total
            metrics[one.name] = metrics[one.name] + share * (total.detach() / scale)
        added = added + share * (beside / scale)
    return added, metrics
