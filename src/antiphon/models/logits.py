"""From hidden states to log-probabilities, in fp32, with blocked tokens out, and never all logits at once."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

CHUNK_ELEMENTS = 1 << 25
"""Logits kept at once: 32 Mi elements, 128 MiB in fp32."""


def log_softmax(head: nn.Module, hidden: Tensor, blocked: Tensor, temperature: float) -> Tensor:
    """log-softmax(logits / temperature) [..., V] in fp32 with the `blocked` [V] tokens at −inf."""
    logits = head(hidden).float()
    if temperature != 1.0:
        logits = logits / temperature
    return logits.masked_fill(blocked, -torch.inf).log_softmax(-1)


def token_logprobs(head: nn.Module, hidden: Tensor, targets: Tensor, blocked: Tensor, temperature: float) -> Tensor:
    """Log-probabilities [M] of `targets` [M] given `hidden` [M, D].

    Vocabularies that would make [M, V] larger than `CHUNK_ELEMENTS` are done in row chunks that the backward pass
    recomputes, so [M, V] never exists.
    """

    def rows(hidden_rows: Tensor, target_rows: Tensor) -> Tensor:
        scores = log_softmax(head, hidden_rows, blocked, temperature)
        return scores.gather(-1, target_rows[:, None]).squeeze(-1)

    size = max(CHUNK_ELEMENTS // blocked.shape[0], 1)
    if len(hidden) <= size:
        return rows(hidden, targets)
    chunks = [
        checkpoint(rows, h, t, use_reentrant=False)
        for h, t in zip(hidden.split(size), targets.split(size), strict=True)
    ]
    return torch.cat([chunk for chunk in chunks if isinstance(chunk, Tensor)])
