"""From hidden states to fp32 log-probabilities without blocked tokens, in chunks that bound memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from antiphon.errors import ModelError

CHUNK_ELEMENTS = 1 << 23
"""Logits per chunk: 8 Mi elements, 32 MiB in fp32. A backward pass holds about five times as much."""


def log_softmax(head: nn.Module, hidden: Tensor, blocked: Tensor, temperature: float | Tensor) -> Tensor:
    """log-softmax(logits / temperature) [..., V] in fp32 with the `blocked` [V] or [..., V] tokens at −inf."""
    logits = head(hidden).float()
    if isinstance(temperature, Tensor) or temperature != 1.0:
        logits = logits.div_(temperature)
    return logits.masked_fill_(blocked, -torch.inf).log_softmax(-1)


@dataclass(frozen=True)
class Predictions:
    """The predicted distributions of M tokens, stored as hidden states.

    If [M, V] has more than `CHUNK_ELEMENTS` elements, it is computed in row chunks, which the backward pass recomputes,
    so it never exists in memory as a whole.
    """

    head: nn.Module
    hidden: Tensor
    """[M, D], with its graph where there is one."""
    first: Tensor
    """[M] 1 where the token opens its completion, else 0."""
    blocked: Tensor
    """[2, V] bool, blocked tokens: row 1 at the first position, row 0 at all others."""
    temperature: float = 1.0

    def map(self, function: Callable[..., Tensor], *tensors: Tensor, beside: Predictions | None = None) -> Tensor:
        """`function(logprobs [m, V], *tensors [m, ...]) -> [m, ...]` over chunks of rows, joined to [M, ...].

        `beside` gives the function a second argument [m, V']: the same rows of another model's predictions, such as a
        teacher's, without gradients.
        """
        return torch.cat(self._chunks(function, tensors, beside))

    def tokens(self, tokens: Tensor) -> Tensor:
        """Log-probabilities [M] of `tokens` [M]."""
        return self.map(lambda scores, chosen: scores.gather(-1, chosen[:, None]).squeeze(-1), tokens)

    def top(self, k: int) -> tuple[Tensor, Tensor]:
        """The `k` largest log-probabilities [M, k], largest first, and their token ids [M, k].

        If fewer than `k` tokens are allowed, blocked ones at −inf fill up. Raises `ModelError` if the vocabulary has
        fewer than `k` tokens.
        """
        size = self.blocked.shape[-1]
        if not 1 <= k <= size:
            raise ModelError(f"the {k} most probable tokens of a vocabulary of {size} were requested; set 1 to {size}")
        values, ids = zip(*self._chunks(lambda scores: tuple(scores.topk(k)), (), None), strict=True)
        return torch.cat(values), torch.cat(ids)

    def _chunks(self, function: Callable[..., Any], tensors: tuple[Tensor, ...], beside: Predictions | None) -> list:
        others = () if beside is None else (beside,)
        total = len(self.hidden)
        if any(len(one) != total for one in (*(other.hidden for other in others), *tensors)):
            raise ValueError(f"all tensors beside {total} predictions must have {total} rows")

        def run(rows: slice) -> Any:
            with torch.no_grad():
                beside_logprobs = [other._logprobs(rows) for other in others]
            return function(self._logprobs(rows), *beside_logprobs, *(tensor[rows] for tensor in tensors))

        size = max(CHUNK_ELEMENTS // sum(one.blocked.shape[-1] for one in (self, *others)), 1)
        if total <= size:
            return [run(slice(None))]
        return [
            checkpoint(run, slice(start, start + size), use_reentrant=False, preserve_rng_state=False)
            for start in range(0, total, size)
        ]

    def _logprobs(self, rows: slice) -> Tensor:
        return log_softmax(self.head, self.hidden[rows], self.blocked[self.first[rows]], self.temperature)
