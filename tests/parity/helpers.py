"""What the parity tests of several families share: prompts of unequal length, audible random weights, gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from antiphon.types import Prompt


def noise_prompts(seconds: Sequence[float], rate: int = 16000) -> list[Prompt]:
    """Prompts of white noise, one a duration."""
    rng = np.random.default_rng(0)
    waveforms = [0.1 * rng.standard_normal(round(s * rate)).astype(np.float32) for s in seconds]
    return [Prompt(f"p{i}", waveform, rate, transcribe=True) for i, waveform in enumerate(waveforms)]


def audible(model: Any) -> Any:
    """`model` with matrices rescaled by their fan-in: with the usual small ones, audio hardly moves the output."""
    torch.manual_seed(0)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)
    return model


def take_gradients(model: Any) -> dict[str, Tensor]:
    """The gradients that the model holds, by parameter; none are left."""
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad(set_to_none=True)
    return gradients


def relative_difference(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> float:
    """‖ours − theirs‖ / ‖theirs‖ over all gradients together."""
    assert ours.keys() == theirs.keys()
    flat = [torch.cat([gradients[name].flatten() for name in theirs]) for gradients in (ours, theirs)]
    return float((flat[0] - flat[1]).norm() / flat[1].norm())
