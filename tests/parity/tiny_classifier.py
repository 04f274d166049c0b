"""Tiny random audio classifiers and their feature extractors."""

from __future__ import annotations

from typing import Any

import tiny_ctc
from tiny_ctc import BODY, LAYER_NORM
from transformers import (
    ASTConfig,
    ASTFeatureExtractor,
    ASTForAudioClassification,
    HubertConfig,
    HubertForSequenceClassification,
    SeamlessM4TFeatureExtractor,
    Wav2Vec2BertConfig,
    Wav2Vec2BertForSequenceClassification,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2ForSequenceClassification,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForAudioClassification,
)

LABELS = ["yes", "no", "up", "down", "left", "right", "stop"]
NAMES = {"id2label": dict(enumerate(LABELS)), "label2id": {label: i for i, label in enumerate(LABELS)}}
WAVEFORM = {**tiny_ctc.WAVEFORM, **NAMES, "classifier_proj_size": 16}


def wav2vec2_group() -> tuple[Any, Any]:
    return Wav2Vec2ForSequenceClassification(Wav2Vec2Config(**WAVEFORM)), Wav2Vec2FeatureExtractor()


def wav2vec2_layer() -> tuple[Any, Any]:
    config = Wav2Vec2Config(**WAVEFORM, **LAYER_NORM, use_weighted_layer_sum=True)
    return Wav2Vec2ForSequenceClassification(config), Wav2Vec2FeatureExtractor(return_attention_mask=True)


def hubert_group() -> tuple[Any, Any]:
    return HubertForSequenceClassification(HubertConfig(**WAVEFORM)), Wav2Vec2FeatureExtractor()


def hubert_layer() -> tuple[Any, Any]:
    config = HubertConfig(**WAVEFORM, **LAYER_NORM)
    return HubertForSequenceClassification(config), Wav2Vec2FeatureExtractor(return_attention_mask=True)


def bert() -> tuple[Any, Any]:
    config = Wav2Vec2BertConfig(
        **BODY,
        **NAMES,
        classifier_proj_size=16,
        feature_projection_input_dim=16,
        conv_depthwise_kernel_size=5,
        left_max_position_embeddings=8,
    )
    return Wav2Vec2BertForSequenceClassification(config), SeamlessM4TFeatureExtractor(feature_size=8, num_mel_bins=8)


def ast() -> tuple[Any, Any]:
    config = ASTConfig(**BODY, **NAMES, num_mel_bins=16, max_length=48, patch_size=8, frequency_stride=8, time_stride=8)
    return ASTForAudioClassification(config), ASTFeatureExtractor(num_mel_bins=16, max_length=48)


def whisper() -> tuple[Any, Any]:
    config = WhisperConfig(
        **NAMES,
        d_model=16,
        encoder_layers=2,
        encoder_attention_heads=2,
        encoder_ffn_dim=32,
        decoder_layers=1,
        decoder_attention_heads=2,
        decoder_ffn_dim=32,
        num_mel_bins=16,
        max_source_positions=50,
        classifier_proj_size=16,
    )
    return WhisperForAudioClassification(config), WhisperFeatureExtractor(feature_size=16, chunk_length=1)


BUILDERS = [wav2vec2_group, wav2vec2_layer, hubert_group, hubert_layer, bert, ast, whisper]
