"""Cross-attention of a group of completions over one copy of their clip's keys and values.

A standard decoder needs one row of cross-attention keys per row of queries, so G completions of a clip would need G
copies. But cross-attention has no order or causality among its queries. So the G rows become one row of G·T queries
before each cross-attention layer, and G rows again after it.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from transformers import Cache, DynamicCache, EncoderDecoderCache

from antiphon.models.fold import Fold


class GroupCache(EncoderDecoderCache):
    """Self-attention keys and values of N completions, and cross-attention keys and values of their P clips."""

    def __init__(self, own: Cache, clips: DynamicCache, groups: Fold, audio_mask: Tensor | None) -> None:
        """`groups` fold the completions by clip; `audio_mask` [P, 1, 1, S] is added to the cross-attention scores."""
        super().__init__(own, clips)
        self.audio_mask, self.groups = audio_mask, groups

    def fold(self, states: Tensor) -> Tensor:
        """[N, T, D], one row per completion, to [P, G·T, D], one row per clip; G is the largest group."""
        return self.groups.fold(states).flatten(1, 2)

    def unfold(self, states: Tensor) -> Tensor:
        """The inverse of `fold`."""
        return self.groups.unfold(states.unflatten(1, (self.groups.width, -1)))


def share_clips(decoder: Any) -> None:
    """Make the decoder's cross-attention fold groups when it is given a `GroupCache`; other calls do not change."""
    for layer in decoder.layers:
        layer.encoder_attn.register_forward_pre_hook(_fold, with_kwargs=True)
        layer.encoder_attn.register_forward_hook(_unfold, with_kwargs=True)


def _fold(module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]] | None:
    cache = kwargs.get("past_key_values")
    if not isinstance(cache, GroupCache):
        return None
    states, rest = (args[0], args[1:]) if args else (kwargs["hidden_states"], ())
    if len(states) == len(cache.groups.prompt):
        states = cache.fold(states)
    return rest, {**kwargs, "hidden_states": states}


def _unfold(module: nn.Module, args: tuple, kwargs: dict[str, Any], output: tuple) -> tuple | None:
    cache = kwargs.get("past_key_values")
    if not isinstance(cache, GroupCache) or len(output[0]) == len(cache.groups.prompt):
        return None
    return cache.unfold(output[0]), *output[1:]
