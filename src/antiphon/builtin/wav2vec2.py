"""The built-in wav2vec2: transformers' own classes, small, from waveforms to characters.

The layer-norm form of the model, in which clips of unequal length share a batch under a mask. Its first convolution
starts as a bank of band-pass filters on the mel scale (Zeghidour et al. 2018, "Learning filterbanks from raw
speech"): learning one from scratch takes longer than all the rest.
"""

from __future__ import annotations

import json
from pathlib import Path
from string import ascii_lowercase
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import (
    Wav2Vec2Config,
    Wav2Vec2CTCTokenizer,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2ForCTC,
    Wav2Vec2Processor,
)
from transformers.audio_utils import hertz_to_mel, mel_to_hertz

from antiphon.builtin.speech import HEARD, Utterance
from antiphon.data.corpora.sets import SYNTHESIS_RATE

VOCABULARY = ["<pad>", "<s>", "</s>", "<unk>", "|", *ascii_lowercase, "'"]
BANDS = 48
PHASES = 3
"""Of each band: three half-waves, a third of a turn apart, add up to nearly the band's envelope."""
KERNEL, STRIDE = (320, 3, 3), (80, 2, 2)


def build_processor() -> Wav2Vec2Processor:
    """Feature extractor and a tokenizer of lower-case letters in transformers' own processor class."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "vocab.json"
        path.write_text(json.dumps({token: i for i, token in enumerate(VOCABULARY)}))
        tokenizer = Wav2Vec2CTCTokenizer(str(path))
    return Wav2Vec2Processor(
        Wav2Vec2FeatureExtractor(sampling_rate=SYNTHESIS_RATE, return_attention_mask=True), tokenizer
    )


def build_model(processor: Wav2Vec2Processor) -> Wav2Vec2ForCTC:
    """An untrained recognizer, in fp32: 50 frames a second, four layers."""
    model = Wav2Vec2ForCTC(
        Wav2Vec2Config(
            vocab_size=len(VOCABULARY),
            hidden_size=144,
            num_hidden_layers=4,
            num_attention_heads=4,
            intermediate_size=432,
            conv_dim=(BANDS * PHASES, 144, 144),
            conv_kernel=KERNEL,
            conv_stride=STRIDE,
            conv_bias=True,
            num_conv_pos_embeddings=32,
            num_conv_pos_embedding_groups=8,
            feat_extract_norm="layer",
            do_stable_layer_norm=True,
            apply_spec_augment=False,
            layerdrop=0.0,
            hidden_dropout=0.0,
            attention_dropout=0.0,
            activation_dropout=0.0,
            feat_proj_dropout=0.0,
            final_dropout=0.0,
            ctc_zero_infinity=True,
            pad_token_id=VOCABULARY.index("<pad>"),
            **HEARD,
        )
    )
    first: Any = model.wav2vec2.feature_extractor.conv_layers[0]
    first.conv.weight.data.copy_(filters()[:, None])
    return model


def filters() -> Tensor:
    """Band-pass filters [BANDS · PHASES, samples], from 80 to 7500 Hz evenly on the mel scale, under a Hann window."""
    low, high = (hertz_to_mel(edge, mel_scale="htk") for edge in (80.0, 7500.0))
    centers = np.repeat(mel_to_hertz(np.linspace(low, high, BANDS), mel_scale="htk"), PHASES)
    phases = np.tile(np.arange(PHASES) / PHASES, BANDS)
    turns = centers[:, None] * np.arange(KERNEL[0]) / SYNTHESIS_RATE + phases[:, None]
    bank = np.hanning(KERNEL[0]) * np.cos(2 * np.pi * turns)
    return torch.from_numpy(bank / np.linalg.norm(bank, axis=1, keepdims=True)).float()


def features(processor: Wav2Vec2Processor, waveform: np.ndarray) -> np.ndarray:
    """The clip [samples] as the feature extractor normalizes it, in float16."""
    return processor.feature_extractor(waveform, sampling_rate=SYNTHESIS_RATE)["input_values"][0].astype(np.float16)


class Collator:
    """Turns utterances into the model's inputs and labels."""

    def __init__(self, processor: Wav2Vec2Processor) -> None:
        self.tokenizer: Any = processor.tokenizer

    def __call__(self, batch: list[Utterance]) -> dict[str, Any]:
        clips = [torch.from_numpy(one.features.astype(np.float32)) for one in batch]
        return {
            "input_values": pad_sequence(clips, batch_first=True),
            "attention_mask": pad_sequence([torch.ones(len(clip), dtype=torch.long) for clip in clips], True),
            "labels": [torch.tensor(self.tokenizer(one.text)["input_ids"]) for one in batch],
        }


def ctc_head(model: Any) -> None:
    """None: the model has one of its own."""


def losses(model: Any, head: None, inputs: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """CTC over the frames, and no auxiliary loss."""
    mask, labels = inputs["attention_mask"], inputs["labels"]
    logits = model(input_values=inputs["input_values"], attention_mask=mask).logits
    log_probs = logits.float().log_softmax(-1).transpose(0, 1)
    frames = mask.sum(-1)
    for kernel, stride in zip(model.config.conv_kernel, model.config.conv_stride, strict=True):
        frames = (frames - kernel) // stride + 1
    sizes = torch.tensor([len(row) for row in labels])
    ctc = F.ctc_loss(log_probs, torch.cat(labels), frames, sizes, blank=model.config.pad_token_id, zero_infinity=True)
    return ctc, torch.zeros(())
