"""The decoding loop (continuous batching): one token per row and step; rows enter between steps and leave when done.

A row's tokens depend only on its prompt, sampling and uniforms, not on the other rows of the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from antiphon.errors import ModelError
from antiphon.models.draw import filtered, inverse_cdf_sample
from antiphon.models.fold import Fold
from antiphon.models.limits import Limits
from antiphon.models.logits import log_softmax
from antiphon.models.policy import Sampling
from antiphon.models.prefix import Prefix, join
from antiphon.models.shared_cache import SharedCache
from antiphon.types import Completion, FinishReason, Prompt

COMPACT_BELOW = 0.75
"""The batch is compacted when at most this share of its rows is active. Until then, finished rows stay in it, and
their outputs are discarded."""


@runtime_checkable
class DecodesTokens(Protocol):
    """A policy that this loop can decode: it emits tokens one by one after a cached prefix."""

    model: Any
    head: nn.Module
    tokenizer: Any
    device: torch.device
    blocking: Tensor
    stop_ids: frozenset[int]
    groups_attention: bool | None
    """Whether attention reads a prompt's keys once for all its rows; None until the first step determines it."""

    @property
    def limits(self) -> Limits: ...
    def taken(self, prompt: Prompt) -> int: ...
    def size(self, prompt: Prompt) -> int: ...
    def encode(self, prompts: Sequence[Prompt]) -> Prefix: ...
    def attach(self, cache: SharedCache, prefix: Prefix, groups: Fold) -> Any: ...
    def extend(self, past: Any, mask: Tensor, tokens: Tensor, positions: Tensor) -> Tensor: ...
    def completion(self, row: Row) -> Completion: ...


@dataclass(eq=False)
class Row:
    """An unfinished completion. Set its `finish_reason` between two steps to stop it."""

    sampling: Sampling
    uniforms: np.ndarray | None = None
    """[max_new_tokens] in [0, 1); greedy decoding needs none."""
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    finish_reason: FinishReason | None = None
    top: int = 0
    """How many of the most probable tokens to record at each position."""
    alternatives: list[list[tuple[int, float]]] = field(default_factory=list)
    """For each of `token_ids`, those tokens with their log-probabilities, the most probable first."""

    def __post_init__(self) -> None:
        if self.uniforms is None and not self.greedy:
            raise ValueError("sampling at a temperature above 0 needs `uniforms`")

    @property
    def active(self) -> bool:
        return self.finish_reason is None

    @property
    def greedy(self) -> bool:
        return self.sampling.temperature == 0

    @property
    def uniform(self) -> float:
        """The uniform for the next token."""
        return 0.0 if self.uniforms is None or not self.active else self.uniforms[len(self.token_ids)]


class Decoding:
    """Decodes completions of several prompts in one batch, admitted at different times."""

    def __init__(self, policy: DecodesTokens) -> None:
        self.policy = policy
        self.rows: list[Row] = []

    @property
    def active(self) -> list[Row]:
        """The unfinished rows."""
        return [row for row in self.rows if row.active]

    @torch.no_grad()
    def admit(self, prefix: Prefix, groups: Sequence[Sequence[Row]]) -> None:
        """Start the rows of `groups`, one group for each prompt of `prefix`."""
        rows = [row for group in groups for row in group]
        prompt = torch.tensor([i for i, group in enumerate(groups) for _ in group], device=self.policy.device)
        hidden = prefix.hidden[prompt]
        self._compact()
        if not self.rows:
            self.rows, self.hidden = rows, hidden
            self._arrange(prefix, prompt)
            return
        before = len(self.rows)
        self.rows, self.hidden = self.rows + rows, torch.cat([self.hidden, hidden])
        joined = torch.cat([self.prompt, prompt + len(self.prefix.mask)])
        self._arrange(join([self.prefix, prefix]), joined, torch.arange(before, device=prompt.device))

    @torch.no_grad()
    def step(self) -> list[Row]:
        """Decode one more token for every row. Returns the rows that finish with it.

        Raises `ModelError` if the model's probabilities are NaN.
        """
        if not self.active:
            self.rows = []
            return []
        self._compact(COMPACT_BELOW)
        tokens, logprobs = self._draw()
        ended = self._note(*torch.stack([tokens.double(), logprobs.double()]).tolist())
        if self.active:
            self._read(tokens)
        else:
            self.rows = []
        return ended

    def _compact(self, share: float = 1.0) -> None:
        """Drop finished rows if at most `share` of all rows are active."""
        kept = [i for i, row in enumerate(self.rows) if row.active]
        if len(kept) == len(self.rows) or len(kept) > share * len(self.rows):
            return
        self.rows = [self.rows[i] for i in kept]
        if kept:
            rows = torch.tensor(kept, device=self.policy.device)
            self.hidden = self.hidden[rows]
            left, prompt = torch.unique(self.prompt[rows], return_inverse=True)
            self._arrange(self.prefix if len(left) == len(self.prefix.mask) else self.prefix.select(left), prompt, rows)

    def _arrange(self, prefix: Prefix, prompt: Tensor, rows: Tensor | None = None) -> None:
        """Continue with these prompts; `rows` of the previous cache come first."""
        self.prefix, self.prompt, groups = prefix, prompt, Fold(prompt)
        cache = SharedCache(prefix.cache, prefix.mask, groups, self.policy.groups_attention is not False)
        if rows is not None:
            cache.take_over(self.cache, rows)
        self.cache, self.past = cache, self.policy.attach(cache, prefix, groups)
        self.lengths = prefix.lengths[prompt]

    def _draw(self) -> tuple[Tensor, Tensor]:
        """The next token of each row [N], and its log-probability [N]."""
        policy, device = self.policy, self.policy.device
        first = [int(not row.token_ids) for row in self.rows]
        temperatures = [row.sampling.temperature or 1.0 for row in self.rows]
        scores = log_softmax(
            policy.head,
            self.hidden,
            policy.blocking[first[0]] if len(set(first)) == 1 else policy.blocking[first],
            temperatures[0] if len(set(temperatures)) == 1 else torch.tensor(temperatures, device=device)[:, None],
        )
        self._note_alternatives(scores)
        greedy = [row.greedy for row in self.rows]
        if all(greedy):
            chosen = scores.argmax(-1)
        else:
            uniforms = torch.tensor([row.uniform for row in self.rows], dtype=torch.float64, device=device)
            chosen = inverse_cdf_sample(filtered(scores, [row.sampling for row in self.rows]), uniforms)
            if any(greedy):
                chosen = torch.where(torch.tensor(greedy, device=device), scores.argmax(-1), chosen)
        return chosen, scores.gather(-1, chosen[:, None]).squeeze(-1)

    def _note_alternatives(self, scores: Tensor) -> None:
        most = max(row.top for row in self.rows)
        if not most:
            return
        values, ids = scores.topk(min(most, scores.shape[-1]))
        for row, best, logprobs in zip(self.rows, ids.tolist(), values.tolist(), strict=True):
            if row.active and row.top:
                row.alternatives.append(list(zip(best, logprobs, strict=True))[: row.top])

    def _note(self, tokens: list[float], logprobs: list[float]) -> list[Row]:
        ended = []
        for row, token, logprob in zip(self.rows, tokens, logprobs, strict=True):
            if not row.active:
                continue
            if logprob != logprob:
                raise ModelError(
                    "the model's probabilities are not numbers (NaN): training has diverged, or the checkpoint is "
                    "damaged; lower optimizer.lr, or take an earlier checkpoint"
                )
            row.token_ids.append(int(token))
            row.logprobs.append(logprob)
            if int(token) in self.policy.stop_ids:
                row.finish_reason = "stop"
            elif len(row.token_ids) == row.sampling.max_new_tokens:
                row.finish_reason = "length"
            if not row.active:
                ended.append(row)
        return ended

    def _read(self, tokens: Tensor) -> None:
        """Feed the last token of each row to the model."""
        steps = [len(row.token_ids) - 1 for row in self.rows]
        mask = self.cache.advance(steps)
        positions = (self.lengths + self.cache.steps)[:, None]
        self.hidden = self.policy.extend(self.past, mask, tokens[:, None], positions)[:, -1]
        if self.policy.groups_attention is None:
            self.policy.groups_attention = all(layer.used for layer in self.cache.shared)
            if not self.policy.groups_attention:
                self.cache.grouped = False
                self._read(tokens)
