"""LoRA (Hu et al. 2021, arXiv 2106.09685) through peft: y = W x + (alpha / rank) B A x; only A and B are trained.

peft's layers replace the linear layers they wrap, so a policy's references to its model, including hooks, stay valid.
With the adapters off, the model is the initial one: a KL reference at no memory cost.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from antiphon.errors import MissingExtraError, ModelError
from antiphon.models.internals import declare_adapter, holds_adapter_alone, lora_layers
from antiphon.models.policy import Policy

ADAPTER = "adapter"
"""The folder in a merged checkpoint that keeps the adapter training goes on from."""
_PREFIX = "base_model.model."
"""Before every name in peft's files."""


def require_peft() -> None:
    """Raises `MissingExtraError` if peft is not installed."""
    if importlib.util.find_spec("peft") is None:
        raise MissingExtraError("LoRA", "peft", "lora")


def add_adapter(model: Any, layers: Sequence[str], rank: int, alpha: float, seed: int) -> None:
    """Add an adapter to each of the linear layers `layers`, and freeze everything else.

    A is initialized from `seed` and B is zero, so the model's outputs do not change.
    """
    require_peft()
    from peft import LoraConfig

    config = LoraConfig(r=rank, lora_alpha=alpha, target_modules=list(layers), lora_dropout=0.0)  # pyright: ignore[reportArgumentType]
    device = next(model.parameters()).device
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        model.add_adapter(config)
    model.eval()
    written, base = model.peft_config["default"], Path(model.name_or_path)
    written.target_modules = sorted(written.target_modules)  # peft keeps a set, whose order changes from run to run
    if base.is_dir():
        written.base_model_name_or_path = str(base.resolve())


def base_of(place: str) -> str | None:
    """The base model of the adapter in the folder or hub repository `place`; None if it holds a whole model."""
    if not holds_adapter_alone(place):
        return None
    require_peft()
    from peft import PeftConfig

    return PeftConfig.from_pretrained(place).base_model_name_or_path or ""


def load_adapter(model: Any, place: str) -> None:
    """Load the adapter in the folder or hub repository `place` into the model; trainable weights stay trainable.

    Raises `ModelError` if it is not plain LoRA, or belongs to another model.
    """
    from peft import LoraConfig, PeftConfig

    config = PeftConfig.from_pretrained(place)
    if not isinstance(config, LoraConfig) or config.use_dora or config.modules_to_save or config.bias != "none":
        raise ModelError(f"the adapter in {place} is not plain LoRA; merge it into its model with peft first")
    config.inference_mode = False
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    try:
        model.add_adapter(config)
    except ValueError as error:
        raise ModelError(f"the adapter in {place} does not fit this {type(model).__name__}: {error}") from error
    for parameter in trainable:
        parameter.requires_grad_(True)
    model.eval()
    load_adapter_tensors(model, read_tensors(place))


def read_tensors(place: str) -> dict[str, Tensor]:
    """The tensors of the adapter in the folder or hub repository `place`, by the names of peft's files."""
    from peft import load_peft_weights

    return load_peft_weights(place, device="cpu")


def load_adapter_tensors(model: Any, tensors: dict[str, Tensor]) -> None:
    """Fill the model's adapters with `tensors`, by peft's names. Raises `ModelError` if they belong to others."""
    from peft import get_peft_model_state_dict, set_peft_model_state_dict

    given = {name.removeprefix(_PREFIX): tensor for name, tensor in tensors.items()}
    shapes = {name: tensor.shape for name, tensor in given.items()}
    wanted = {name.removeprefix(_PREFIX): tensor.shape for name, tensor in get_peft_model_state_dict(model).items()}
    if shapes != wanted:
        odd = min(name for name in wanted.keys() | shapes.keys() if wanted.get(name) != shapes.get(name))
        raise ModelError(f"the adapter's tensors are of other layers or another rank, such as {odd!r}")
    set_peft_model_state_dict(model, given)


@contextmanager
def merged(model: Any) -> Iterator[None]:
    """Merge the adapters, W + (alpha / rank) B A, within the block; then restore the model bit for bit."""
    layers, weights = lora_layers(model), {}
    for name, layer in layers.items():
        base = layer.get_base_layer()
        weights[name] = base.weight
        base.weight = nn.Parameter(_sum(layer), requires_grad=False)
        model.set_submodule(name, base)
    declare_adapter(model, False)
    try:
        yield
    finally:
        declare_adapter(model, True)
        for name, layer in layers.items():
            layer.get_base_layer().weight = weights[name]
            model.set_submodule(name, layer)


@torch.no_grad()
def merge(model: Any) -> None:
    """Merge the adapters into the weights permanently."""
    for name, layer in lora_layers(model).items():
        base = layer.get_base_layer()
        base.weight.copy_(_sum(layer))
        model.set_submodule(name, base)
    declare_adapter(model, False)
    del model.peft_config
    if getattr(model.config, "has_lora_adapter", False):  # Granite Speech's own, which transformers loads frozen.
        model.config.has_lora_adapter = False
        model.requires_grad_(True)


@torch.no_grad()
def _sum(layer: Any) -> Tensor:
    """The weight of the layer and its adapters, summed in fp32."""
    weight = layer.get_base_layer().weight
    total = weight.float()
    for adapter in layer.active_adapters:
        total = total + layer.get_delta_weight(adapter).float()
    return total.to(weight.dtype)


def without_adapter(policy: Policy) -> Policy:
    """The policy with its adapters off: the initial model, at no memory cost.

    Each call goes to the policy with its adapters off. The result of `predictions` may be used later, because it needs
    only the head, which never has an adapter.
    """
    return cast(Policy, _WithoutAdapter(policy))


class _WithoutAdapter:
    def __init__(self, policy: Policy) -> None:
        self._policy = policy

    def __getattr__(self, name: str) -> Any:
        found, model = getattr(self._policy, name), self._policy.model
        if name == "model" or not callable(found):
            return found

        def call(*args: Any, **kwargs: Any) -> Any:
            model.disable_adapters()
            try:
                return found(*args, **kwargs)
            finally:
                model.enable_adapters()

        return call
