"""Caches a frozen audio encoder's features of each clip, so that a clip is encoded once per run."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from cachetools import LRUCache
from torch import Tensor, nn

from antiphon.errors import ConfigError, ModelError
from antiphon.models.internals import writes
from antiphon.models.submodules import parts

Features = tuple[Tensor, ...]
_AUDIO_PARTS = ("audio_encoder", "projector")


class FeatureCache:
    """An LRU cache in main memory: features of single clips by the content of the encoder's input.

    Encode each clip alone for this cache. Features from a batch would keep that batch's rounding for the rest of the
    run, and a resumed run would batch the clip differently.
    """

    def __init__(self, budget: int, weights: Sequence[Tensor]) -> None:
        """`budget` is in bytes; `weights` are those that the features depend on."""
        self._weights = list(weights)
        self._seen = self._state()
        self._features: LRUCache[bytes, Features] = LRUCache(budget, getsizeof=_bytes_of)

    def get(self, inputs: Mapping[str, Tensor], compute: Callable[[], Features]) -> Features:
        """The features of one clip: the cached ones for these `inputs`, else `compute()`, on its device."""
        if self._state() != self._seen:
            self._features.clear()
            self._seen = self._state()
        key = _digest(inputs)
        if key in self._features:
            return tuple(one.to(self._weights[0].device) for one in self._features[key])
        with torch.no_grad():
            features = compute()
        with suppress(ValueError):  # Larger than the budget: not kept.
            self._features[key] = tuple(one.cpu() for one in features)
        return features

    def _state(self) -> list[tuple[int, int]]:
        """A state that changes when a weight is replaced or written to."""
        return [(weight.data_ptr(), writes(weight)) for weight in self._weights]


def cache_features(policy: Any, megabytes: int) -> None:
    """Make `policy` cache its audio features, in `megabytes` (2²⁰ bytes) of memory.

    Raises `ModelError` if the policy has no separate audio encoder, and `ConfigError` if the encoder is trained.
    """
    if not hasattr(policy, "feature_cache"):
        raise ModelError(
            f"{type(policy.model).__name__} has no separate audio encoder whose features could be cached; "
            "set train.cache_features_mb: 0"
        )
    modules = audio_modules(policy.model)
    learning = [name for module in modules for name, weight in module.named_parameters() if weight.requires_grad]
    if learning:
        there = parts(policy.model)
        raise ConfigError(
            f"'train.cache_features_mb': the audio encoder is trained ({len(learning)} weights, e.g. {learning[0]}): "
            f"its features change; set freeze: [{', '.join(part for part in _AUDIO_PARTS if part in there)}], or keep "
            "none with train.cache_features_mb=0"
        )
    weights = [tensor for module in modules for tensor in (*module.parameters(), *module.buffers())]
    policy.feature_cache = FeatureCache(megabytes << 20, weights)


def audio_modules(model: Any) -> list[nn.Module]:
    """The modules of `model` that make audio features."""
    there = parts(model)
    return [model.get_submodule(name) for part in _AUDIO_PARTS for name in there.get(part, [])]


def _digest(inputs: Mapping[str, Tensor]) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in inputs.items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
        digest.update(np.ascontiguousarray(tensor.numpy()).data)
    return digest.digest()


def _bytes_of(features: Features) -> int:
    return sum(one.nbytes for one in features)
