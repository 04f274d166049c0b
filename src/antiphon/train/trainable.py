"""Which of a model's parameters a run trains: all but the frozen parts, or LoRA adapters."""

from __future__ import annotations

from typing import Any

from antiphon.config import Config
from antiphon.errors import ConfigError
from antiphon.models import lora
from antiphon.models.internals import has_adapter
from antiphon.models.submodules import freeze, linear_layers


def make_trainable(model: Any, config: Config) -> None:
    """Freeze `config.freeze` and add the adapters of `config.lora`, to a model as `load_policy` gives it.

    A model that is an adapter on another is merged first, so a run always starts from plain weights. Call it before
    anything reads `requires_grad`: the optimizer, and what is cached of frozen parts.

    Raises `ConfigError` for parts and layers that the model has not, where nothing is left to train, and for adapters
    alone to be saved whose model is in no folder.
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
