"""Decodes N rows over a single copy of the keys and values of their P prompts.

By default, a model needs the keys of its whole past for each row, so G completions of a prompt need G copies of its
keys, read again for every token. This cache holds each prompt once, and separately the tokens that each row has
generated. Attention computes the scores of the two parts separately (all rows of a prompt in one matrix product) and
takes one softmax over both. The result is exact up to the order of summation.

`share_prompts` sets this attention for a decoder; for keys from any other cache it is transformers' `sdpa`. Models
with their own attention or a sliding window get their whole pasts instead, gathered for every token.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Cache

from antiphon.models.fold import Fold
from antiphon.models.internals import CacheLayerMixin, sdpa_attention_forward, use_attention

NAME = "antiphon_shared_prompts"
"""Name of our attention in transformers' registry. No checkpoint uses it."""
FIRST_COLUMNS = 32
"""Initial capacity in tokens per row; it doubles when full."""


class SharedCache(Cache):
    """Keys and values of P prompts and of the tokens of N rows, for decoding one token per row at a time.

    Rows may differ in length. Before each pass, `advance` sets the position of each row's next token.
    """

    def __init__(self, prompts: Cache, mask: Tensor, groups: Fold, grouped: bool) -> None:
        """`mask` [P, L] marks prompt tokens, left-padded; `groups` maps the N rows to prompts.

        With `grouped`, attention handles the two parts separately; otherwise each row gets its whole past.
        """
        self.mask, self.groups, self.grouped = mask.bool(), groups, grouped
        self.padding = None if bool(self.mask.all()) else ~self.mask[:, None, None]
        self.shared = [SharedLayer(self, layer) for layer in prompts.layers]
        super().__init__(layers=[*self.shared])

    def take_over(self, other: SharedCache, rows: Tensor) -> None:
        """Copy the `rows` of another cache to the first rows of this one."""
        for own, theirs in zip(self.shared, other.shared, strict=True):
            own.keys, own.values = (_grown(one[rows], len(own.keys)) for one in (theirs.keys, theirs.values))

    def advance(self, steps: Sequence[int]) -> Tensor:
        """Set the index of each row's next token, `steps` [N] (0-based); returns the attention mask for the model."""
        device = self.mask.device
        self.columns = max(steps) + 1
        self.steps = torch.tensor(steps, device=device)
        self.rows = torch.arange(len(steps), device=device)
        ragged = min(steps) != max(steps)
        own = torch.arange(self.columns, device=device)
        self.future = (own > self.steps[:, None])[:, None, None] if ragged else None
        if self.grouped:
            # transformers takes a mask of four dimensions as it is; masking is done in `attend`.
            return self.mask.new_ones(len(steps), 1, 1, 1)
        return self._align()

    def _align(self) -> Tensor:
        """Compute the gather indices of whole pasts, right-aligned; returns their mask."""
        padded = self.mask.shape[1]
        lengths = self.mask.sum(-1)[self.groups.prompt] + self.steps + 1
        width = int(lengths.max())
        back = torch.arange(width - 1, -1, -1, device=self.mask.device)
        self.sources = (padded + self.steps[:, None] - back).clamp(min=0)
        self.width = width
        return (back < lengths[:, None]).long()

    def get_seq_length(self, layer_idx: int = 0) -> int:
        return self.mask.shape[1] + self.columns - 1 if self.grouped else self.width - 1


class SharedLayer(CacheLayerMixin):
    """One layer of a `SharedCache`: prompts [P, K, L, D] and rows [N, K, C, D], with K key heads."""

    is_sliding = False
    keys: Tensor
    values: Tensor

    def __init__(self, cache: SharedCache, prompts: Any) -> None:
        super().__init__()
        self.cache = cache
        self.prompt_keys, self.prompt_values = prompts.keys, prompts.values
        rows = len(cache.groups.prompt)
        self.keys, self.values = (
            one.new_zeros(rows, one.shape[1], FIRST_COLUMNS, one.shape[3]) for one in (prompts.keys, prompts.values)
        )
        self.is_initialized, self.used = True, False

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Store one token per row [N, K, 1, D]; returns keys that `attend` recognizes, or whole pasts."""
        cache = self.cache
        if cache.columns > self.keys.shape[2]:
            self.keys, self.values = (_grown(one, len(one), one.shape[2]) for one in (self.keys, self.values))
        for own, states in ((self.keys, key_states), (self.values, value_states)):
            if cache.future is None:
                own[:, :, cache.columns - 1] = states[:, :, 0]
            else:
                own[cache.rows, :, cache.steps] = states[:, :, 0]
        if not cache.grouped:
            return self._whole(self.prompt_keys, self.keys), self._whole(self.prompt_values, self.values)
        self.used = False
        key_states.shared_layer = self  # type: ignore[attr-defined]
        return key_states, value_states

    def _whole(self, prompts: Tensor, own: Tensor) -> Tensor:
        past = torch.cat([prompts[self.cache.groups.prompt], own[:, :, : self.cache.columns]], 2)
        return past.gather(2, self.cache.sources[:, None, :, None].expand(-1, past.shape[1], -1, past.shape[3]))

    def attend(self, query: Tensor, scaling: float) -> Tensor:
        """Attention [N, H, 1, D] of one query per row [N, H, 1, D] over its prompt and its own tokens."""
        self.used = True
        cache = self.cache
        rows, heads, _, width = query.shape
        kv_heads = self.prompt_keys.shape[1]
        queries = (query * scaling).reshape(rows, kv_heads, heads // kv_heads, width)
        own_keys, own_values = (one[:, :, : cache.columns] for one in (self.keys, self.values))

        own = queries @ own_keys.transpose(-1, -2)
        if cache.future is not None:
            own = own.masked_fill(cache.future, -torch.inf)
        prompt = self._by_prompt(queries) @ self.prompt_keys.transpose(-1, -2)
        if cache.padding is not None:
            prompt = prompt.masked_fill(cache.padding, -torch.inf)
        scores = torch.cat([self._by_row(prompt), own], -1)
        weights = scores.softmax(-1, dtype=torch.float32).to(query.dtype)
        of_prompt, of_own = weights.split([scores.shape[-1] - cache.columns, cache.columns], -1)
        output = self._by_row(self._by_prompt(of_prompt) @ self.prompt_values) + of_own @ own_values
        return output.reshape(rows, heads, 1, -1)

    def _by_prompt(self, rows: Tensor) -> Tensor:
        """[N, K, R, ...] as [P, K, W·R, ...]."""
        return self.cache.groups.fold(rows).transpose(1, 2).flatten(2, 3)

    def _by_row(self, grid: Tensor) -> Tensor:
        """The inverse of `_by_prompt`."""
        return self.cache.groups.unfold(grid.unflatten(2, (self.cache.groups.width, -1)).transpose(1, 2))

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None: ...

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.get_seq_length() + query_length, 0

    def get_seq_length(self) -> int:
        return self.cache.get_seq_length()

    def get_max_length(self) -> int:
        return -1


def _grown(states: Tensor, rows: int, columns: int = 0) -> Tensor:
    """Pad `states` [N, K, C, D] to [rows, K, C + columns, D] with zeros; never garbage, as NaN times 0 is NaN."""
    return nn.functional.pad(states, (0, 0, 0, columns, 0, 0, 0, rows - len(states)))


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """transformers' `sdpa`, except for keys from a `SharedCache`."""
    layer = getattr(key, "shared_layer", None)
    if layer is None or kwargs.get("position_bias") is not None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **kwargs)
    return layer.attend(query, query.shape[-1] ** -0.5 if scaling is None else scaling).transpose(1, 2), None


def share_prompts(decoder: Any) -> None:
    """Set `attend` as the attention of `decoder` if it used `sdpa`. Its results and other models are not affected."""
    use_attention(decoder, NAME, attend)
