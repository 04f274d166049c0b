"""What the tests of the losses share: an algorithm's inputs from the few tensors that a test is about."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from antiphon.algorithms.inputs import Outcomes, Scores


def outcomes(rewards: list[list[float]], **given: Any) -> Outcomes:
    """Rewards [P, G]; unless given, everything is valid, distinct, and one of eight tokens long, and one action."""
    values = torch.tensor(rewards)
    everything = torch.ones_like(values, dtype=torch.bool)
    defaults = {"valid": everything, "first": everything, "lengths": torch.ones_like(values), "max_new_tokens": 8}
    defaults["mask"] = torch.ones(*values.shape, 1)
    return Outcomes(values, **{**defaults, **given})


def scores(logprobs: Tensor, **given: Any) -> Scores:
    """Log-probabilities [N, A]; unless given, on policy, without advantages, each token of weight 1 / (N · A)."""
    fixed = logprobs.detach()
    defaults = {
        "old_logprobs": fixed,
        "engine_logprobs": given.get("old_logprobs", fixed),
        "advantages": torch.zeros_like(fixed),
        "weights": torch.full_like(fixed, 1 / fixed.numel()),
        "group_size": 1,
        "first": torch.ones(len(fixed), dtype=torch.bool),
    }
    return Scores(logprobs, **{**defaults, **given})


def leaf(values: Any) -> Tensor:
    """Float64 log-probabilities that collect a gradient."""
    return torch.as_tensor(values, dtype=torch.float64).clone().requires_grad_()


def double(values: Any) -> Tensor:
    return torch.as_tensor(values, dtype=torch.float64)


def learned(algorithm: Any, settings: Any, given: Scores) -> tuple[float, Tensor, dict[str, float]]:
    """Loss, its gradient in the log-probabilities, and metrics."""
    loss, metrics = algorithm.loss(given, settings)
    (gradient,) = torch.autograd.grad(loss, given.logprobs)
    return loss.item(), gradient, {name: value.item() for name, value in metrics.items()}
