"""Activation checkpointing that keeps the shared prefix: the backward pass computes each layer's activations again.

Of every layer only the input is kept, and its activations live while the layer's own backward pass runs (Chen et al.
2016, arXiv 1604.06174). transformers offers the same for models in training mode alone, and drops the key-value cache
there, and with it the prefix and its audio. Here a layer is a pure function of its input and its own past: it is given
a copy of its part of the cache each time it runs, and the cache itself takes the result of the first run.
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
    """Have the layers of `model`, of its encoders too, be computed again in the backward pass; returns how many.

    Values and gradients stay what they were. Passes without gradients stay as they are. Raises `ModelError` for a
    model whose layers cannot be found: it has none of transformers' layers, and no `ModuleList` called `layers`.
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
    """The outermost layers. Those of Granite's encoder have no base class; a lone convolution has nothing to save."""
    for name, child in module.named_children():
        if isinstance(child, GradientCheckpointingLayer):
            yield child
        elif name == "layers" and isinstance(child, nn.ModuleList):
            yield from (layer for layer in child if any(layer.children()))
        else:
            yield from _layers(child)


def _forward(layer: nn.Module, *args: Any, **kwargs: Any) -> Any:
    """The layer's own forward pass, its activations thrown away where a backward pass may come."""
    forward = type(layer).forward
    if not torch.is_grad_enabled():
        return forward(layer, *args, **kwargs)
    cache = next((value for value in (*args, *kwargs.values()) if isinstance(value, Cache)), None)
    index = 0 if cache is None else _index(layer)
    past = None if cache is None else _part(cache, index)
    # What is kept for the backward pass must not hold the cache itself, whose other layers go on growing.
    args, kwargs = _with_cache(past, args, kwargs)

    def run() -> tuple[Any, Any]:
        present = None if past is None else _part(past, index)
        own_args, own_kwargs = _with_cache(present, args, kwargs)
        return forward(layer, *own_args, **own_kwargs), present

    # Layers in eval mode draw no random numbers.
    results: Any = checkpoint(run, use_reentrant=False, preserve_rng_state=False)
    output, present = results
    if cache is not None:
        _merge(cache, present, index)
    return output


def _with_cache(cache: Any, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
    """The arguments with `cache` in the cache's place."""
    return (
        tuple(cache if isinstance(value, Cache) else value for value in args),
        {name: cache if isinstance(value, Cache) else value for name, value in kwargs.items()},
    )


def _index(layer: nn.Module) -> int:
    """Which of the cache's layers this one reads and writes."""
    found = (getattr(module, "layer_idx", None) for module in layer.modules())
    return next(index for index in found if isinstance(index, int))


def _part(cache: Any, index: int) -> Any:
    """A cache that holds a copy of layer `index` alone, so that it keeps no other layer's tensors alive."""
    part = copy.copy(cache)
    if isinstance(cache, EncoderDecoderCache):
        part.self_attention_cache = _part(cache.self_attention_cache, index)
        part.cross_attention_cache = _part(cache.cross_attention_cache, index)
        part.is_updated = dict(cache.is_updated)
    else:
        part.layers = [copy.copy(one) if i == index else None for i, one in enumerate(cache.layers[: index + 1])]
    return part


def _merge(cache: Any, part: Any, index: int) -> None:
    """Put layer `index` of `part` in its place in `cache`."""
    if isinstance(cache, EncoderDecoderCache):
        _merge(cache.self_attention_cache, part.self_attention_cache, index)
        _merge(cache.cross_attention_cache, part.cross_attention_cache, index)
        cache.is_updated |= part.is_updated
    else:
        cache.layers[index : index + 1] = part.layers[index:]
