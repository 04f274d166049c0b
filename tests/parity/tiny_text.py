"""Tiny random causal language models of several kinds, all with one tokenizer."""

from __future__ import annotations

import transformers
from helpers import audible
from tiny_audio import LAYERS, bytes_tokenizer

from antiphon.types import Prompt

TEXTS = ("Why?", "Name a colour of the sky at night.", "Count to three, please")
CONFIGS = {
    "qwen3": {"num_key_value_heads": 2, "head_dim": 8},
    "llama": {"tie_word_embeddings": True},
    "mistral": {"sliding_window": 8, "num_key_value_heads": 2},
    "gemma2": {"sliding_window": 8, "num_key_value_heads": 2, "head_dim": 8, "final_logit_softcapping": 3.0},
    "granite": {"logits_scaling": 4.0, "embedding_multiplier": 3.0, "residual_multiplier": 0.5},
    "cohere": {"logit_scale": 0.25},
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4},
    "qwen3_moe": {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16, "head_dim": 8},
}


def tiny(model_type: str) -> transformers.PreTrainedModel:
    tokenizer = bytes_tokenizer()
    sizes = {} if model_type == "gpt2" else {**LAYERS, "max_position_embeddings": 512}
    ids = {"eos_token_id": tokenizer.eos_token_id, "bos_token_id": None, "pad_token_id": None}
    config = transformers.AutoConfig.for_model(
        model_type, vocab_size=len(tokenizer), **sizes, **ids, **CONFIGS[model_type]
    )
    return audible(transformers.AutoModelForCausalLM.from_config(config))


def prompts() -> list[Prompt]:
    return [Prompt(f"p{i}", None, 0, instruction=text) for i, text in enumerate(TEXTS)]
