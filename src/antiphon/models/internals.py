"""The only module that uses private names of transformers, peft and torch.

Each is listed with its purpose: private attributes, and names that only an internal module exports. If an upgrade
breaks one, fix it here; tests/unit/test_internals.py keeps them out of every other module.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel

# Layers of a key-value cache of our own: `shared_cache`.
from transformers.cache_utils import CacheLayerMixin as CacheLayerMixin

# What our attention falls back to, which must be the very function that transformers would have called.
from transformers.integrations.sdpa_attention import sdpa_attention_forward as sdpa_attention_forward

# Qwen2-Audio's encoder takes its mask ready-made: `audio_families`.
from transformers.masking_utils import create_bidirectional_mask as create_bidirectional_mask
from transformers.masking_utils import sdpa_mask

# The base class of most layers, by which activation checkpointing finds them: `recompute`.
from transformers.modeling_layers import GradientCheckpointingLayer as GradientCheckpointingLayer

# Which configurations are of a causal LM: `text_lm`.
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
)

# The auxiliary loss of a mixture of experts, the same in every model that has one: `router_loss`.
from transformers.models.mixtral.modeling_mixtral import load_balancing_loss_func as load_balancing_loss_func

# How Qwen3-ASR and Whisper name languages: `audio_families`, `decoder_prompt`, `serve.languages`.
from transformers.models.qwen3_asr.processing_qwen3_asr import LANGUAGE_CODE_TO_NAME as LANGUAGE_CODE_TO_NAME

# Aligns a Whisper's tokens with its frames: `cross_attention`.
from transformers.models.whisper.generation_whisper import _dynamic_time_warping
from transformers.models.whisper.tokenization_whisper import LANGUAGES as LANGUAGES
from transformers.models.whisper.tokenization_whisper import TO_LANGUAGE_CODE as TO_LANGUAGE_CODE

# GPT-2's linear layer, which LoRA adapts like any other: `submodules`.
from transformers.pytorch_utils import Conv1D as Conv1D

_SDPA_BY_NAME = re.compile(r"_attn_implementation\s*(?:==|!=|in\b|not in\b)[^\n]*[\"']sdpa[\"']")


def use_attention(decoder: Any, name: str, attention: Callable[..., Any]) -> None:
    """Replace transformers' `sdpa` in `decoder` by `attention`, registered as `name`.

    Other models in the process do not change. The decoder keeps its attention if it uses another implementation (eager,
    flash), does not take it from the registry, or handles the name `sdpa` specially. Without these private names,
    decoding still works, but copies each prompt's keys for every completion.
    """
    if not isinstance(decoder, PreTrainedModel) or decoder.config._attn_implementation != "sdpa":
        return
    if not decoder._can_set_attn_implementation() or _asks_for_sdpa(type(decoder)):
        return
    AttentionInterface.register(name, attention)
    AttentionMaskInterface.register(name, sdpa_mask)
    decoder.set_attn_implementation({"": name})  # The decoder itself; what is configured beneath it keeps its own.


def _asks_for_sdpa(kind: type) -> bool:
    """Whether a model's code compares the name of its attention with `sdpa` (Gemma 4, DeepSeek-V3.2, Falcon)."""
    module = sys.modules.get(kind.__module__)
    return module is None or _SDPA_BY_NAME.search(inspect.getsource(module)) is not None


def frames_after_convolutions(model: Any, lengths: Any) -> Any:
    """Number of frames that a convolutional encoder (wav2vec2, HuBERT, Moonshine …) makes of `lengths` samples.

    transformers offers this under a private name only; without it, a clip's length in frames is unknown.
    """
    return model._get_feat_extract_output_lengths(lengths)


def frames_after_subsampling(encoder: Any, lengths: Any) -> Any:
    """The same for Parakeet's and Cohere's encoders, whose input is feature frames."""
    return encoder._get_subsampling_output_length(lengths)


def dynamic_time_warping(costs: Any) -> tuple[Any, Any]:
    """The rows and columns of the cheapest monotonic path through `costs` [rows, columns], from corner to corner."""
    return _dynamic_time_warping(costs)


def has_adapter(model: Any) -> bool:
    """Whether transformers has loaded a peft adapter into `model`. Without this name, adapters go unnoticed."""
    return getattr(model, "_hf_peft_config_loaded", False)


def declare_adapter(model: Any, present: bool) -> None:
    """Tell transformers whether `model` has an adapter: whether `save_pretrained` writes one, or whole weights."""
    model._hf_peft_config_loaded = present


def recorded_outputs(module: nn.Module) -> dict[str, Any]:
    """The outputs that transformers can record from `module`, such as router logits, and the classes that emit them."""
    return getattr(module, "_can_record_outputs", None) or {}


def keeps_other_state(model: Any) -> bool:
    """Whether the model's past is more than keys and values (as in Mamba), so that a prompt cannot be shared."""
    return getattr(model, "_is_stateful", False)


def writes(tensor: Tensor) -> int:
    """How often `tensor` was written to in place, by torch's counter: detects changes without comparing values."""
    return tensor._version


def lora_layers(model: nn.Module) -> dict[str, Any]:
    """The layers of `model` that peft has put LoRA into, by name."""
    from peft.tuners.lora import LoraLayer

    return {name: module for name, module in model.named_modules() if isinstance(module, LoraLayer)}


def holds_adapter_alone(place: str) -> bool:
    """Whether a folder or hub repository has an adapter's files but no whole model's.

    A model that comes with an adapter of its own (Granite Speech) has both, and transformers loads both.
    """
    from transformers.utils.hub import has_file
    from transformers.utils.peft_utils import find_adapter_config_file

    return find_adapter_config_file(place) is not None and not has_file(place, "config.json")
