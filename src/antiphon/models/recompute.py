"""Activation checkpointing that keeps the shared prefix: the backward pass recomputes each layer's activations.

Only the input of each layer is stored; its activations exist while its own backward pass runs (Chen et al. 2016,
arXiv 1604.06174). transformers supports this in training mode only, and drops the key-value cache there, which holds
the prefix and its audio. Here a layer is a pure function of its input and its own past: each run gets a copy of the
layer's part of the cache, and the cache itself is updated with the result of the first run.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from types import MethodType
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers import Cache, EncoderDecoderCache

from antiphon.errors import ModelError
from antiphon.models.internals import GradientCheckpointingLayer


def recompute_activations(model: nn.Module) -> int:
    """Enable activation checkpointing for all layers of `model`, including its encoders'; returns their number.

    Values and gradients do not change; passes without gradients are not affected. Raises `ModelError` if no layers are
    found: the model has none of transformers' layer classes, and no `ModuleList` called `layers`.
    """
    layers = list(_layers(model))
    if not layers:
        raise ModelError(
            f"the layers of {type(model).__name__} cannot be found, so its activations cannot be recomputed; "
            "set train.activation_checkpointing: false"
        )
    for layer in layers:
        layer.forward = MethodType(_forward, layer)
    return len(layers)


def _layers(module: nn.Module) -> Iterator[nn.Module]:
    """The outermost layers. Granite's encoder layers have no base class; for a single convolution it would not pay."""
    for name, child in module.named_children():
        if isinstance(child, GradientCheckpointingLayer):
            yield child
        elif name == "layers" and isinstance(child, nn.ModuleList):
            yield from (layer for layer in child if any(layer.children()))
        else:
            yield from _layers(child)


def _forward(layer: nn.Module, *args: Any, **kwargs: Any) -> Any:
    """The layer's forward pass, checkpointed if gradients are enabled."""
    forward = type(layer).forward
    if not torch.is_grad_enabled():
        return forward(layer, *args, **kwargs)
    cache = next((value for value in (*args, *kwargs.values()) if isinstance(value, Cache)), None)
    index = 0 if cache is None else _index(layer)
    past = None if cache is None else _part(cache, index)
    # Do not keep the cache itself for the backward pass: its other layers continue to grow.
    args, kwargs = _with_cache(past, args, kwargs)

    def run() -> tuple[Any, Any]:
        present = None if past is None else _part(past, index)
        own_args, own_kwargs = _with_cache(present, args, kwargs)
        return forward(layer, *own_args, **own_kwargs), present

    # In eval mode, layers use no random numbers.
    results: Any = checkpoint(run, use_reentrant=False, preserve_rng_state=False)
    output, present = results
    if cache is not None:
        _merge(cache, present, index)
    return output


def _with_cache(cache: Any, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
    """The arguments with every cache replaced by `cache`."""
    return (
        tuple(cache if isinstance(value, Cache) else value for value in args),
        {name: cache if isinstance(value, Cache) else value for name, value in kwargs.items()},
    )


def _index(layer: nn.Module) -> int:
    """Index of the cache layer that this layer uses."""
    found = (getattr(module, "layer_idx", None) for module in layer.modules())
    return next(index for index in found if isinstance(index, int))


def _part(cache: Any, index: int) -> Any:
    """A cache with a copy of layer `index` only, so that it does not keep other layers' tensors alive."""
    part = copy.copy(cache)
    if isinstance(cache, EncoderDecoderCache):
        part.self_attention_cache = _part(cache.self_attention_cache, index)
        part.cross_attention_cache = _part(cache.cross_attention_cache, index)
        part.is_updated = dict(cache.is_updated)
    else:
        part.layers = [copy.copy(one) if i == index else None for i, one in enumerate(cache.layers[: index + 1])]
    return part


def _merge(cache: Any, part: Any, index: int) -> None:
    """Store layer `index` of `part` in `cache`."""
    if isinstance(cache, EncoderDecoderCache):
        _merge(cache.self_attention_cache, part.self_attention_cache, index)
        _merge(cache.cross_attention_cache, part.cross_attention_cache, index)
        cache.is_updated |= part.is_updated
    else:
        cache.layers[index : index + 1] = part.layers[index:]
