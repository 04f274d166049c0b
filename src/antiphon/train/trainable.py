"""Selects the parameters that a run trains: all but the frozen parts, or LoRA adapters."""

from __future__ import annotations

from typing import Any

from antiphon.config import Config
from antiphon.errors import ConfigError
from antiphon.models import lora
from antiphon.models.internals import has_adapter
from antiphon.models.submodules import freeze, linear_layers


def make_trainable(model: Any, config: Config) -> None:
    """Freeze `config.freeze` and add the adapters of `config.lora`, on a model from `load_policy`.

    If the model has an adapter, it is merged first, so a run always starts from plain weights. Call this before
    anything reads `requires_grad`: the optimizer, and caches of frozen parts.

    Raises `ConfigError` if the model lacks a named part or layer, if nothing is left to train, or if an adapter would
    be saved alone on top of a merged one, which no folder holds.
    """
    if has_adapter(model):
        if config.lora and config.lora.save == "adapter":
            raise ConfigError(
                f"'lora.save': model {config.model!r} is an adapter itself, and one on top of it could not be loaded "
                "alone; set lora.save=merged, or train from the whole model: antiphon export MODEL DIR, then model=DIR"
            )
        lora.merge(model)
    freeze(model, config.freeze)
    if config.lora:
        wanted = None if config.lora.target == "all-linear" else config.lora.target
        layers = linear_layers(model, wanted, without=config.freeze)
        if not layers:
            raise ConfigError(f"'lora': this {type(model).__name__} has no linear layer that is not frozen")
        lora.add_adapter(model, layers, config.lora.rank, config.lora.alpha, config.seed)
