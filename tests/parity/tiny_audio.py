"""Tiny random instances of every audio-prefix architecture, with processors built offline from their own classes."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import transformers
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from transformers import PreTrainedTokenizerFast, WhisperFeatureExtractor
from transformers.models.granite_speech import feature_extraction_granite_speech as granite_features

MELS = 16
WINDOW = 2
"""Seconds of the feature extractors' window; a longer clip takes several, where the model allows it."""
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|audio_bos|>", "<|AUDIO|>", "<|audio_eos|>")
VISION = ("<|vision_bos|>", "<|vision_eos|>", "<|IMAGE|>", "<|VIDEO|>")
ENCODER = {"d_model": 32, "encoder_layers": 2, "encoder_attention_heads": 4, "encoder_ffn_dim": 64}
LAYERS = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
CHAT = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.content is string %}{{ m.content }}{% else %}"
    "{% for c in m.content %}{% if c.type == 'audio' %}<|audio_bos|><|AUDIO|><|audio_eos|>"
    "{% else %}{{ c.text }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def bytes_tokenizer(chat_template: str | None = CHAT, **named: str) -> PreTrainedTokenizerFast:
    """One token a byte, the special tokens after them, and attributes such as `audio_token` by `named`."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(BPE(vocab={letter: i for i, letter in enumerate(letters)}, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens([*SPECIAL, *VISION])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, eos_token="<|im_end|>", pad_token="<|endoftext|>", extra_special_tokens=named or None
    )
    tokenizer.chat_template = chat_template
    return tokenizer


def token(name: str) -> int:
    return bytes_tokenizer().convert_tokens_to_ids(name)


def text_config(model_type: str, **more: Any) -> dict[str, Any]:
    tokenizer = bytes_tokenizer()
    heads = {"num_key_value_heads": 2, "head_dim": 8}
    base = {"model_type": model_type, "vocab_size": len(tokenizer), "max_position_embeddings": 4096}
    return {**base, **LAYERS, **heads, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": None, **more}


def whisper_features(window: int = WINDOW) -> WhisperFeatureExtractor:
    return WhisperFeatureExtractor(feature_size=MELS, chunk_length=window, return_attention_mask=True)


def qwen2_audio() -> tuple[Any, Any]:
    processor = transformers.Qwen2AudioProcessor(whisper_features(4), bytes_tokenizer(None), chat_template=CHAT)
    config = transformers.Qwen2AudioConfig(
        audio_config={
            "model_type": "qwen2_audio_encoder",
            **ENCODER,
            "num_mel_bins": MELS,
            "max_source_positions": 200,
        },
        text_config=text_config("qwen2"),
        audio_token_index=token("<|AUDIO|>"),
    )
    return transformers.Qwen2AudioForConditionalGeneration(config), processor


def audioflamingo3() -> tuple[Any, Any]:
    processor = transformers.AudioFlamingo3Processor(
        whisper_features(), bytes_tokenizer(None), chat_template=CHAT, audio_token="<|AUDIO|>", max_audio_len=5
    )
    config = transformers.AudioFlamingo3Config(
        audio_config={
            "model_type": "audioflamingo3_encoder",
            **LAYERS,
            "num_mel_bins": MELS,
            "max_source_positions": 100,
        },
        text_config=text_config("qwen2"),
        audio_token_id=token("<|AUDIO|>"),
    )
    return transformers.AudioFlamingo3ForConditionalGeneration(config), processor


def glmasr() -> tuple[Any, Any]:
    processor = transformers.GlmAsrProcessor(
        whisper_features(), bytes_tokenizer(None), chat_template=CHAT, audio_token="<|AUDIO|>", max_audio_len=5
    )
    audio = {**LAYERS, "intermediate_size": 128, "num_mel_bins": MELS}  # the projector joins 128 / 32 states to a token
    config = transformers.GlmAsrConfig(
        audio_config={"model_type": "glmasr_encoder", **audio},
        text_config=text_config("llama"),
        audio_token_id=token("<|AUDIO|>"),
    )
    return transformers.GlmAsrForConditionalGeneration(config), processor


def granite_speech() -> tuple[Any, Any]:
    tokenizer = bytes_tokenizer()
    processor = transformers.GraniteSpeechProcessor(
        transformers.GraniteSpeechFeatureExtractor(), tokenizer, audio_token="<|AUDIO|>"
    )
    encoder = {"input_dim": 160, "num_layers": 2, "hidden_dim": 32, "num_heads": 4, "feedforward_mult": 2}
    config = transformers.GraniteSpeechConfig(
        encoder_config={"model_type": "granite_speech_encoder", **encoder, "context_size": 20, "max_pos_emb": 20},
        projector_config={"model_type": "blip_2_qformer", **LAYERS, "encoder_hidden_size": 32},
        text_config=text_config("granite", embedding_multiplier=2.0, tie_word_embeddings=False),
        audio_token_index=token("<|AUDIO|>"),
        has_lora_adapter=False,
        tie_word_embeddings=False,
    )
    return transformers.GraniteSpeechForConditionalGeneration(config), processor


def omni_processor(architecture: Any) -> Any:
    """Without the video processor, which needs torchvision: the class's check of its parts is left out."""
    names = ("vision_bos", "vision_eos", "image", "video", "audio_bos", "audio", "audio_eos")
    tokens = (*VISION, *SPECIAL[3:])
    tokenizer = bytes_tokenizer(None, **{f"{n}_token": t for n, t in zip(names, tokens, strict=True)})
    unchecked = type(architecture.__name__, (architecture,), {"check_argument_for_proper_class": lambda *_: None})
    images, videos = transformers.Qwen2VLImageProcessorPil(), SimpleNamespace(model_input_names=[])
    return unchecked(images, videos, whisper_features(4), tokenizer, chat_template=CHAT)


def omni_ids() -> dict[str, int]:
    return {
        "image_token_id": token("<|IMAGE|>"),
        "video_token_id": token("<|VIDEO|>"),
        "vision_start_token_id": token("<|vision_bos|>"),
        "audio_start_token_id": token("<|audio_bos|>"),
        "audio_token_id": token("<|AUDIO|>"),
    }


def qwen2_5_omni_thinker() -> tuple[Any, Any]:
    processor = omni_processor(transformers.Qwen2_5OmniProcessor)
    rope = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 1, 1]}
    config = transformers.Qwen2_5OmniThinkerConfig(
        audio_config={**ENCODER, "num_mel_bins": MELS, "output_dim": 32, "n_window": 20},
        vision_config={"depth": 1, "hidden_size": 32, "intermediate_size": 32, "num_heads": 4, "out_hidden_size": 32},
        text_config=text_config("qwen2_5_omni_text", rope_parameters=rope),
        **omni_ids(),
    )
    return transformers.Qwen2_5OmniThinkerForConditionalGeneration(config), processor


def qwen3_omni_moe_thinker() -> tuple[Any, Any]:
    processor = omni_processor(transformers.Qwen3OmniMoeProcessor)
    rope = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 1, 1]}
    experts = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
    vision = {"depth": 1, "hidden_size": 32, "intermediate_size": 32, "num_heads": 4, "out_hidden_size": 32}
    config = transformers.Qwen3OmniMoeThinkerConfig(
        audio_config={**ENCODER, "num_mel_bins": MELS, "output_dim": 32, "downsample_hidden_size": 4},
        vision_config={**vision, "deepstack_visual_indexes": [0]},
        text_config=text_config("qwen3_omni_moe_text", rope_parameters=rope, **experts),
        **omni_ids(),
    )
    return transformers.Qwen3OmniMoeThinkerForConditionalGeneration(config), processor


def voxtral(folder: Path) -> tuple[Any, Any]:
    if transformers.utils.is_mistral_common_available():
        path = folder / "tekken.json"
        path.write_text(json.dumps(_tekken()))
        processor = transformers.VoxtralProcessor(whisper_features(), transformers.MistralCommonBackend(path))
    else:
        processor = Transcriber(whisper_features(), bytes_tokenizer())
    tokenizer = processor.tokenizer
    windows = {"pad_to_multiple_of": 16000 * WINDOW, "max_source_positions": 100 * WINDOW}
    processor.audio_kwargs = {**processor.audio_kwargs, **windows}
    encoder = {**LAYERS, "intermediate_size": 128, "num_mel_bins": MELS, "max_source_positions": 50 * WINDOW}
    config = transformers.VoxtralConfig(
        audio_config={"model_type": "voxtral_encoder", **encoder},
        text_config=text_config("llama", vocab_size=len(tokenizer), eos_token_id=tokenizer.eos_token_id),
        audio_token_id=24,
    )
    return transformers.VoxtralForConditionalGeneration(config), processor


class Transcriber(transformers.VoxtralProcessor):
    """Voxtral's processor with its request for a transcript laid out by hand, for machines without mistral-common."""

    def apply_transcription_request(self, audio: Any, language: str | None = None, **_: Any) -> Any:
        options = dict(self.audio_kwargs)
        features = self._retrieve_input_features([audio], options.pop("max_source_positions"), **options)
        language_ids = self.tokenizer(f"lang:{language}")["input_ids"] if language else []
        ids = [1, 3, 25, *[24] * (25 * len(features)), 4, *language_ids, 34]
        return transformers.BatchFeature({"input_ids": [ids], "input_features": features}, tensor_type="pt")


def _tekken() -> dict[str, Any]:
    """Mistral's tokenizer file with one token a byte; its special tokens come first, [AUDIO] as number 24."""
    names = "<unk> <s> </s> [INST] [/INST] [AVAILABLE_TOOLS] [/AVAILABLE_TOOLS] [TOOL_RESULTS] [/TOOL_RESULTS] "
    names += "[TOOL_CALLS] [IMG] <pad> [IMG_BREAK] [IMG_END] [PREFIX] [MIDDLE] [SUFFIX] [SYSTEM_PROMPT] "
    names += "[/SYSTEM_PROMPT] [TOOL_CONTENT] - - - - [AUDIO] [BEGIN_AUDIO] - - - - - - [ARGS] [CALL_ID] [TRANSCRIBE]"
    special = [
        {"rank": i, "token_str": f"<SPECIAL_{i}>" if name == "-" else name, "is_control": True}
        for i, name in enumerate(names.split())
    ]
    return {
        "vocab": [
            {"rank": i, "token_bytes": base64.b64encode(bytes([i])).decode(), "token_str": chr(i)} for i in range(256)
        ],
        "special_tokens": special,
        "config": {
            "pattern": r"[^\s]+|\s+",
            "num_vocab_tokens": 256,
            "default_vocab_size": 256 + len(special),
            "default_num_special_tokens": len(special),
            "version": "v7",
        },
        "version": 1,
        "type": "Tekken",
        "audio": {
            "sampling_rate": 16000,
            "frame_rate": 12.5,
            "audio_encoding_config": {"num_mel_bins": MELS, "hop_length": 160, "window_size": 400},
            "chunk_length_s": WINDOW,
        },
    }


class MelSpectrogram(torch.nn.Module):
    """torchaudio's transform of that name, for machines without torchaudio: power in mel bands [..., mels, frames]."""

    def __init__(self, sample_rate: int, n_fft: int, win_length: int, hop_length: int, n_mels: int) -> None:
        super().__init__()
        self.fft, self.hop = n_fft, hop_length
        self.window = torch.nn.functional.pad(torch.hann_window(win_length), ((n_fft - win_length) // 2,) * 2)
        bank = transformers.audio_utils.mel_filter_bank(n_fft // 2 + 1, n_mels, 0, sample_rate / 2, sample_rate)
        self.bank = torch.from_numpy(bank).float()

    def forward(self, waveform: torch.Tensor) -> torch.Tensor:
        spectrum = torch.stft(waveform, self.fft, self.hop, window=self.window, return_complex=True)
        return (spectrum.abs() ** 2).transpose(-1, -2).matmul(self.bank).transpose(-1, -2)


def without_torchaudio(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Granite's feature extractor work where torchaudio is missing."""
    if not transformers.utils.is_torchaudio_available():
        stand_in = SimpleNamespace(transforms=SimpleNamespace(MelSpectrogram=MelSpectrogram))
        monkeypatch.setattr(granite_features, "torchaudio", stand_in, raising=False)
        monkeypatch.setattr(granite_features, "requires_backends", lambda *_: None)
