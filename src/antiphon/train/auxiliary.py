"""Losses beside the algorithms': of how a model computes a micro-batch, not of what it says in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from antiphon.config import Config
from antiphon.models.audio_ctc import AudioCTC
from antiphon.models.policy import Policy
from antiphon.models.router_loss import RouterLoss
from antiphon.train.batch import Batch
from antiphon.train.objectives import Objective


@dataclass(frozen=True)
class Auxiliary:
    """One of them, and how it is come by."""

    name: str
    """Of its metric."""
    coefficient: float
    recording: Callable[[], AbstractContextManager[None]]
    """Watches one `encode` and one scoring of its completions."""
    loss: Callable[[Batch, Any], Tensor]
    """(micro-batch, its prefix) -> the loss of what was recorded: of each row [N], or one for them all []."""


def auxiliary_losses(
    policy: Policy, objectives: Sequence[Objective], config: Config, ctc: AudioCTC | None
) -> list[Auxiliary]:
    """Those that the recipe gives a weight."""
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
