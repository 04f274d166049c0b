"""Cross-attention of a group of completions over one copy of their clip's keys and values.

A decoder that knows nothing of groups wants a row of cross-attention keys for each row of queries, so G completions
of a clip would need G copies. Cross-attention has neither order nor causality among its queries: here the G rows
become one row of G·T queries on their way into each cross-attention layer, and G rows again on their way out.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from transformers import DynamicCache, EncoderDecoderCache

from antiphon.models.autoregressive import repeat


class GroupCache(EncoderDecoderCache):
    """Self-attention keys and values of N completions beside the cross-attention ones of their P clips."""

    def __init__(self, own: DynamicCache, clips: DynamicCache, clip: Tensor, audio_mask: Tensor | None) -> None:
        """`clip` [N] is which of the P clips each completion is of, never decreasing and none left out;
        `audio_mask` [P, 1, 1, S] is added to the cross-attention scores."""
        super().__init__(own, clips)
        self.audio_mask = audio_mask
        self._arrange(clip)

    def _arrange(self, clip: Tensor) -> None:
        self.clip = clip
        counts = torch.bincount(clip)
        self.clips, self.width = len(counts), int(counts.max())
        self.slot = torch.arange(len(clip), device=clip.device) - (counts.cumsum(0) - counts)[clip]

    def repeat(self, n: int) -> GroupCache:
        """Every completion `n` times in a row over the same clips; this one is left as it was, gradients flow."""
        clips = DynamicCache()
        clips.layers = [copy.copy(layer) for layer in self.cross_attention_cache.layers]
        return GroupCache(
            repeat(self.self_attention_cache, n), clips, self.clip.repeat_interleave(n, 0), self.audio_mask
        )

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep the completions `indices` (ascending), and the clips that one of them is of."""
        self.self_attention_cache.batch_select_indices(indices)
        heard, clip = torch.unique(self.clip[indices], return_inverse=True)
        if len(heard) < self.clips:
            self.cross_attention_cache.batch_select_indices(heard)
            self.audio_mask = None if self.audio_mask is None else self.audio_mask[heard]
        self._arrange(clip)

    def fold(self, states: Tensor) -> Tensor:
        """[N, T, D], a row for each completion, as [P, G·T, D], a row for each clip; G is its largest group."""
        _, length, width = states.shape
        if len(states) != self.clips * self.width:
            gaps = states.new_zeros(self.clips, self.width, length, width)
            states = gaps.index_put((self.clip, self.slot), states)
        return states.reshape(self.clips, self.width * length, width)

    def unfold(self, states: Tensor) -> Tensor:
        """The inverse of `fold`."""
        grouped = states.reshape(self.clips, self.width, -1, states.shape[-1])
        if len(self.clip) == self.clips * self.width:
            return grouped.flatten(0, 1)
        return grouped[self.clip, self.slot]


def share_clips(decoder: Any) -> None:
    """Have the decoder's cross-attention fold groups whenever it is given a `GroupCache`; no other call changes."""
    for layer in decoder.layers:
        layer.encoder_attn.register_forward_pre_hook(_fold, with_kwargs=True)
        layer.encoder_attn.register_forward_hook(_unfold, with_kwargs=True)


def _fold(module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]] | None:
    cache = kwargs.get("past_key_values")
    if not isinstance(cache, GroupCache):
        return None
    states, rest = (args[0], args[1:]) if args else (kwargs["hidden_states"], ())
    if len(states) == len(cache.clip):
        states = cache.fold(states)
    return rest, {**kwargs, "hidden_states": states}


def _unfold(module: nn.Module, args: tuple, kwargs: dict[str, Any], output: tuple) -> tuple | None:
    cache = kwargs.get("past_key_values")
    if not isinstance(cache, GroupCache) or len(output[0]) == len(cache.clip):
        return None
    return cache.unfold(output[0]), *output[1:]
