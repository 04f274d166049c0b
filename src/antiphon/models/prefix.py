"""Encoded prompts, which completions continue from: in the rollout and, with gradients, in the loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import DynamicCache


@dataclass
class Prefix:
    """P encoded prompts: their keys and values, and the hidden state that predicts the first token."""

    cache: Any
    """A `DynamicCache` over the prompt tokens."""
    mask: Tensor
    """[P, L], 1 on prompt tokens; prompts are left-padded."""
    hidden: Tensor
    """[P, D] at the last prompt position."""
    clips: Any = None
    """A `DynamicCache` over the encoder frames, for decoders with cross-attention."""
    audio_mask: Tensor | None = None
    """[P, 1, 1, S], added to the attention scores of these frames; None without padding."""

    @property
    def lengths(self) -> Tensor:
        """[P] number of prompt tokens, including audio tokens."""
        return self.mask.sum(-1)

    def select(self, prompts: Tensor) -> Prefix:
        """The prompts at these indices."""
        return Prefix(
            _map(self.cache, lambda states: states[prompts]),
            self.mask[prompts],
            self.hidden[prompts],
            None if self.clips is None else _map(self.clips, lambda states: states[prompts]),
            None if self.audio_mask is None else self.audio_mask[prompts],
        )


def join(prefixes: Sequence[Prefix]) -> Prefix:
    """Join prefixes into one: tokens are left-padded, frames right-padded. Differentiable."""
    if len(prefixes) == 1:
        return prefixes[0]
    length = max(one.mask.shape[1] for one in prefixes)
    missing = [(length - one.mask.shape[1], 0) for one in prefixes]
    mask = torch.cat([nn.functional.pad(one.mask, pad) for one, pad in zip(prefixes, missing, strict=True)])
    cache = _concatenate([one.cache for one in prefixes], missing)
    hidden = torch.cat([one.hidden for one in prefixes])
    if prefixes[0].clips is None:
        return Prefix(cache, mask, hidden)
    frames = [one.clips.get_seq_length() for one in prefixes]
    after = [(0, max(frames) - own) for own in frames]
    clips = _concatenate([one.clips for one in prefixes], after)
    if len(set(frames)) == 1 and all(one.audio_mask is None for one in prefixes):
        return Prefix(cache, mask, hidden, clips)
    masks = [_padded_audio_mask(one, pad) for one, pad in zip(prefixes, after, strict=True)]
    return Prefix(cache, mask, hidden, clips, torch.cat(masks))


def repeat(cache: Any, n: int) -> DynamicCache:
    """A copy of `cache` with each prompt repeated `n` times in a row. Differentiable."""
    return _map(cache, lambda states: states.repeat_interleave(n, 0))


def pad_left(rows: Sequence[Tensor], device: torch.device) -> tuple[Tensor, Tensor]:
    """Left-pad `rows` of token ids to [P, L] with 0; also returns the mask."""
    length = max(len(row) for row in rows)
    ids = torch.stack([nn.functional.pad(row, (length - len(row), 0)) for row in rows])
    mask = torch.stack([nn.functional.pad(torch.ones_like(row), (length - len(row), 0)) for row in rows])
    return ids.to(device), mask.to(device)


def _map(cache: Any, function: Any) -> DynamicCache:
    return DynamicCache([(function(layer.keys), function(layer.values)) for layer in cache.layers])


def _concatenate(caches: Sequence[Any], padding: Sequence[tuple[int, int]]) -> DynamicCache:
    """Concatenate `caches` along the batch, each padded with (before, after) zeros along positions."""

    def joined(states: Sequence[Tensor]) -> Tensor:
        return torch.cat([nn.functional.pad(one, (0, 0, *pad)) for one, pad in zip(states, padding, strict=True)])

    layers = zip(*(cache.layers for cache in caches), strict=True)
    return DynamicCache([(joined([one.keys for one in same]), joined([one.values for one in same])) for same in layers])


def _padded_audio_mask(prefix: Prefix, padding: tuple[int, int]) -> Tensor:
    keys = prefix.clips.layers[0].keys
    mask = keys.new_zeros(len(keys), 1, 1, keys.shape[2]) if prefix.audio_mask is None else prefix.audio_mask
    return nn.functional.pad(mask, padding, value=torch.finfo(mask.dtype).min)
