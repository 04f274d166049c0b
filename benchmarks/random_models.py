"""Recognizers with random weights for the benchmarks, in transformers' Qwen3-ASR classes."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from transformers import Qwen3ASRConfig, Qwen3ASRFeatureExtractor, Qwen3ASRForConditionalGeneration

from antiphon.builtin.architecture import Size, build_model, build_processor
from antiphon.models.audio_lm import AudioPrefixLM
from antiphon.types import Prompt

SIZES = {
    "tiny": Size(width=32, audio_layers=1, text_layers=1, heads=4, feed_forward=64, conv_channels=8),
    "small": Size(width=256, audio_layers=4, text_layers=6, heads=4, feed_forward=768, conv_channels=64),
}
QWEN = "qwen3-asr-1.7b"
RATE = 16000


def recognizer(size: str, device: torch.device, dtype: torch.dtype) -> tuple[Any, Any]:
    """Model and processor of a named size; the same weights at each call."""
    torch.manual_seed(0)
    processor = build_processor()
    if size != QWEN:
        model: Any = build_model(SIZES[size], processor)
        return model.to(device, dtype), processor
    # The configuration's defaults are the published model's, but for the width that its projector hands on.
    config: Any = Qwen3ASRConfig(audio_config={"model_type": "qwen3_asr_encoder", "output_dim": 2048})
    token = processor.tokenizer.convert_tokens_to_ids
    config.text_config.vocab_size = 151936
    config.audio_token_id, config.eos_token_id = token("<|audio_pad|>"), [token("<|im_end|>")]
    config.pad_token_id = token("<|endoftext|>")
    processor.feature_extractor = Qwen3ASRFeatureExtractor(feature_size=config.audio_config.num_mel_bins)
    with torch.device(device):
        model = Qwen3ASRForConditionalGeneration._from_config(config, dtype=dtype)
    return model, processor


def policy_that_never_stops(model: Any, processor: Any) -> AudioPrefixLM:
    """A policy that may sample every token but the audio placeholder, and for which none ends a completion."""
    policy = AudioPrefixLM(model, processor, block_tokens=())
    policy.stop_ids = frozenset()
    return policy


def noise(name: str, seconds: float, context: str = "") -> Prompt:
    """A clip of noise, the same one for a name at each call, in whole frames of 10 ms."""
    rng = np.random.default_rng(list(name.encode()))
    samples = round(seconds * 100) * RATE // 100
    return Prompt(name, (0.1 * rng.standard_normal(samples)).astype(np.float32), RATE, context=context)
