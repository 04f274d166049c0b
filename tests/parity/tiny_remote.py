"""A tiny audio LM that brings its own code, in a folder as its author would publish it."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import pytest
from helpers import audible
from tiny_audio import CHAT, LAYERS, bytes_tokenizer, token, whisper_features
from transformers import dynamic_module_utils

_MODULES = tempfile.TemporaryDirectory()  # the one place that this process imports such modules from
CONFIGURATION = """
from transformers import Qwen3Config

class TinyArkConfig(Qwen3Config):
    model_type = "tiny_ark"
"""
MODELING = """
import torch
from torch import nn
from transformers import GenerationMixin, PreTrainedModel, Qwen3Model
from transformers.modeling_outputs import CausalLMOutputWithPast
from .configuration_tiny_ark import TinyArkConfig

class TinyArkForCausalLM(PreTrainedModel, GenerationMixin):
    config_class = TinyArkConfig

    def __init__(self, config):
        super().__init__(config)
        self.ear = nn.Conv1d(config.mels, config.hidden_size, 16, 16)
        self.model = Qwen3Model(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def get_output_embeddings(self):
        return self.lm_head

    def forward(self, input_ids=None, attention_mask=None, position_ids=None, past_key_values=None, audios=None,
                use_cache=None, output_hidden_states=None, **kwargs):
        embeds = self.model.embed_tokens(input_ids)
        if audios is not None:
            heard = torch.nn.functional.gelu(self.ear(audios)).transpose(1, 2).reshape(-1, embeds.shape[-1])
            embeds = embeds.masked_scatter((input_ids == self.config.audio_token_id)[..., None], heard)
        out = self.model(inputs_embeds=embeds, attention_mask=attention_mask, position_ids=position_ids,
                         past_key_values=past_key_values, use_cache=use_cache)
        hidden = out.last_hidden_state
        return CausalLMOutputWithPast(logits=self.lm_head(hidden) * self.config.head_factor,
                                      past_key_values=out.past_key_values, hidden_states=(hidden,))
"""
PROCESSING = """
import soundfile
from transformers import BatchFeature, ProcessorMixin

class TinyArkProcessor(ProcessorMixin):
    attributes = ["feature_extractor", "tokenizer"]
    feature_extractor_class = "WhisperFeatureExtractor"
    tokenizer_class = "AutoTokenizer"

    def __init__(self, feature_extractor, tokenizer, chat_template=None):
        super().__init__(feature_extractor, tokenizer, chat_template=chat_template)

    def apply_chat_template(self, conversation, add_generation_prompt=False, return_tensors=None):
        path = next(part["path"] for turn in conversation for part in turn["content"] if part["type"] == "audio")
        waveform, rate = soundfile.read(path, dtype="float32")
        features = self.feature_extractor(waveform, sampling_rate=rate, padding="longest", return_tensors="pt")
        audios = features["input_features"]
        text = super().apply_chat_template(conversation, add_generation_prompt=add_generation_prompt, tokenize=False)
        text = text.replace("<|AUDIO|>", "<|AUDIO|>" * (audios.shape[-1] // 16))
        inputs = self.tokenizer(text, return_tensors=return_tensors, return_token_type_ids=False)
        return BatchFeature({**inputs, "audios": audios})
"""


def publish(folder: Path) -> Path:
    """A model as its author would publish it: weights, configuration, processor, and the code of all three."""
    path, package = folder / "tiny_ark", folder / "authors"
    package.mkdir()
    sources = {"configuration": CONFIGURATION, "modeling": MODELING, "processing": PROCESSING}
    for part, source in sources.items():
        (package / f"{part}_tiny_ark.py").write_text(source)
    (package / "__init__.py").touch()
    sys.path.insert(0, str(folder))
    try:
        from authors.configuration_tiny_ark import TinyArkConfig
        from authors.modeling_tiny_ark import TinyArkForCausalLM
        from authors.processing_tiny_ark import TinyArkProcessor
    finally:
        sys.path.remove(str(folder))
    TinyArkConfig.register_for_auto_class()
    TinyArkForCausalLM.register_for_auto_class("AutoModelForCausalLM")
    TinyArkProcessor.register_for_auto_class()
    tokenizer = bytes_tokenizer(None)
    config = TinyArkConfig(
        vocab_size=len(tokenizer),
        **LAYERS,
        num_key_value_heads=2,
        head_dim=8,
        eos_token_id=tokenizer.eos_token_id,
        audio_token_id=token("<|AUDIO|>"),
        mels=16,
        head_factor=1.0,
    )
    audible(TinyArkForCausalLM(config)).save_pretrained(path)
    TinyArkProcessor(whisper_features(), tokenizer, chat_template=CHAT).save_pretrained(path)
    return path


def keep_modules(patch: pytest.MonkeyPatch) -> None:
    """Have transformers copy trusted code to a folder of this process instead of the user's cache of modules."""
    patch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", _MODULES.name)
