"""Tiny random CTC recognizers, with processors built offline from their own classes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, models
from transformers import (
    HubertConfig,
    HubertForCTC,
    ParakeetCTCConfig,
    ParakeetFeatureExtractor,
    ParakeetForCTC,
    ParakeetProcessor,
    ParakeetTokenizer,
    SeamlessM4TFeatureExtractor,
    Wav2Vec2BertConfig,
    Wav2Vec2BertForCTC,
    Wav2Vec2BertProcessor,
    Wav2Vec2Config,
    Wav2Vec2CTCTokenizer,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2ForCTC,
    Wav2Vec2Processor,
)

VOCABULARY = ["<pad>", "<s>", "</s>", "<unk>", "|", *"abcdehlo"]
BODY = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
WAVEFORM = {
    **BODY,
    "vocab_size": len(VOCABULARY),
    "conv_dim": (8, 8, 8),
    "conv_kernel": (10, 8, 4),
    "conv_stride": (5, 8, 4),
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
}
LAYER_NORM = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}


def wav2vec2_processor(folder: Path, mask: bool) -> Wav2Vec2Processor:
    return Wav2Vec2Processor(Wav2Vec2FeatureExtractor(return_attention_mask=mask), letters(folder))


def letters(folder: Path) -> Wav2Vec2CTCTokenizer:
    path = folder / "vocab.json"
    path.write_text(json.dumps({token: i for i, token in enumerate(VOCABULARY)}))
    return Wav2Vec2CTCTokenizer(str(path))


def wav2vec2_group(folder: Path) -> tuple[Any, Any]:
    return Wav2Vec2ForCTC(Wav2Vec2Config(**WAVEFORM)), wav2vec2_processor(folder, mask=False)


def wav2vec2_layer(folder: Path) -> tuple[Any, Any]:
    return Wav2Vec2ForCTC(Wav2Vec2Config(**WAVEFORM, **LAYER_NORM)), wav2vec2_processor(folder, mask=True)


def wav2vec2_adapter(folder: Path) -> tuple[Any, Any]:
    config = Wav2Vec2Config(**WAVEFORM, **LAYER_NORM, add_adapter=True, num_adapter_layers=1)
    return Wav2Vec2ForCTC(config), wav2vec2_processor(folder, mask=True)


def hubert_group(folder: Path) -> tuple[Any, Any]:
    return HubertForCTC(HubertConfig(**WAVEFORM)), wav2vec2_processor(folder, mask=False)


def hubert_layer(folder: Path) -> tuple[Any, Any]:
    return HubertForCTC(HubertConfig(**WAVEFORM, **LAYER_NORM)), wav2vec2_processor(folder, mask=True)


def hubert_batch_norm(folder: Path) -> tuple[Any, Any]:
    config = HubertConfig(**WAVEFORM, **LAYER_NORM, conv_pos_batch_norm=True)
    return HubertForCTC(config), wav2vec2_processor(folder, mask=True)


def bert(folder: Path, **settings: Any) -> tuple[Any, Any]:
    config = Wav2Vec2BertConfig(
        **BODY,
        vocab_size=len(VOCABULARY),
        feature_projection_input_dim=16,
        conv_depthwise_kernel_size=5,
        left_max_position_embeddings=8,
        **settings,
    )
    extractor = SeamlessM4TFeatureExtractor(feature_size=8, num_mel_bins=8, padding_value=1)
    return Wav2Vec2BertForCTC(config), Wav2Vec2BertProcessor(extractor, letters(folder))


def bert_adapter(folder: Path) -> tuple[Any, Any]:
    return bert(folder, add_adapter=True)


def parakeet(folder: Path) -> tuple[Any, Any]:
    encoder = {
        **BODY,
        "num_mel_bins": 16,
        "subsampling_factor": 4,
        "subsampling_conv_channels": 8,
        "conv_kernel_size": 5,
    }
    blank = len(VOCABULARY) - 1
    config = ParakeetCTCConfig(vocab_size=blank + 1, pad_token_id=blank, encoder_config=encoder)
    vocabulary = {token: i for i, token in enumerate([*VOCABULARY[1:], VOCABULARY[0]])}
    tokenizer = ParakeetTokenizer(
        tokenizer_object=Tokenizer(models.WordLevel(vocabulary, "<unk>")), unk_token="<unk>", pad_token="<pad>"
    )
    return ParakeetForCTC(config), ParakeetProcessor(ParakeetFeatureExtractor(feature_size=16), tokenizer)


BUILDERS = [
    wav2vec2_group,
    wav2vec2_layer,
    wav2vec2_adapter,
    hubert_group,
    hubert_layer,
    hubert_batch_norm,
    bert,
    bert_adapter,
    parakeet,
]
