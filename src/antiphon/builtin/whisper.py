"""The built-in Whisper: transformers' own classes, with a window of 8 s and a tokenizer of the corpora's words.

Its prompt is that of the multilingual models, `<|startoftranscript|><|en|><|transcribe|><|notimestamps|>`. A frame of
its spectrogram lasts 25 ms instead of 10, so its encoder emits 20 states a second.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer
from torch import Tensor, nn
from transformers import (
    GenerationConfig,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperProcessor,
    WhisperTokenizer,
)

from antiphon.builtin.speech import HEARD, Utterance
from antiphon.data.corpora import commands, digits
from antiphon.data.corpora.sets import SYNTHESIS_RATE

WIDTH = 144
MEL_BINS = 64
WINDOW = 8
"""The encoder's window in seconds."""
HOP = 400
"""Samples from one spectrogram frame to the next; the encoder halves the frames."""
SPECIAL = ("startoftranscript", "en", "translate", "transcribe", "startofprev", "nospeech", "notimestamps")


def build_processor() -> WhisperProcessor:
    """Feature extractor and tokenizer in transformers' own processor class."""
    extractor = WhisperFeatureExtractor(feature_size=MEL_BINS, hop_length=HOP, chunk_length=WINDOW, n_fft=512)
    return WhisperProcessor(extractor, build_tokenizer())


def build_tokenizer() -> WhisperTokenizer:
    """A byte-level BPE in Whisper's form in which every word of the corpora, with the space before it, is a token."""
    bpe = Tokenizer(BPE())
    bpe.pre_tokenizer = ByteLevel(add_prefix_space=False)
    trainer = BpeTrainer(
        vocab_size=6000, min_frequency=1, initial_alphabet=sorted(ByteLevel.alphabet()), show_progress=False
    )
    bpe.train_from_iterator((f" {word}" for word in sorted({*commands.vocabulary(), *digits.WORDS})), trainer)
    model = json.loads(bpe.to_str())["model"]
    merges: Any = [tuple(merge) for merge in model["merges"]]
    tokenizer = WhisperTokenizer(model["vocab"], merges)
    tokenizer.add_tokens([f"<|{name}|>" for name in ("endoftext", *SPECIAL)], special_tokens=True)
    tokenizer.set_prefix_tokens(language="en", task="transcribe", predict_timestamps=False)
    return tokenizer


def build_model(processor: WhisperProcessor) -> WhisperForConditionalGeneration:
    """An untrained recognizer for the processor's vocabulary, in fp32."""
    tokenizer: Any = processor.tokenizer
    token = tokenizer.convert_tokens_to_ids
    end, start = token("<|endoftext|>"), token("<|startoftranscript|>")
    ends = {"bos_token_id": end, "eos_token_id": end, "pad_token_id": end, "decoder_start_token_id": start}
    config = WhisperConfig(
        vocab_size=len(tokenizer),
        num_mel_bins=MEL_BINS,
        d_model=WIDTH,
        encoder_layers=3,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=3 * WIDTH,
        decoder_ffn_dim=3 * WIDTH,
        max_source_positions=WINDOW * SYNTHESIS_RATE // HOP // 2,
        max_target_positions=96,
        suppress_tokens=None,
        begin_suppress_tokens=None,
        **HEARD,
        **{"takes_prompts": False},  # It was trained without any.
        **ends,
    )
    model = WhisperForConditionalGeneration(config)
    model.generation_config = GenerationConfig(
        **ends,
        suppress_tokens=[token(f"<|{name}|>") for name in SPECIAL],
        begin_suppress_tokens=[token("Ġ"), end],
        no_timestamps_token_id=token("<|notimestamps|>"),
        prev_sot_token_id=token("<|startofprev|>"),
        is_multilingual=True,
        lang_to_id={"<|en|>": token("<|en|>")},
        task_to_id={name: token(f"<|{name}|>") for name in ("translate", "transcribe")},
        language="en",
        task="transcribe",
        return_timestamps=False,
        max_new_tokens=64,
    )
    return model


def features(processor: WhisperProcessor, waveform: np.ndarray) -> np.ndarray:
    """Log-mel features [frames, mel] in float16 of one clip [samples] at 16 kHz, and of silence to fill the window."""
    mel = processor.feature_extractor(waveform, sampling_rate=SYNTHESIS_RATE, return_tensors="np")["input_features"][0]
    return mel.T.astype(np.float16)


class Collator:
    """Turns utterances into the model's inputs: windows, and the decoder's tokens with labels on the transcript."""

    def __init__(self, processor: WhisperProcessor) -> None:
        self.tokenizer: Any = processor.tokenizer

    def __call__(self, batch: list[Utterance]) -> dict[str, Any]:
        prompt, end = self.tokenizer.prefix_tokens, self.tokenizer.eos_token_id
        targets = [self.tokenizer(f" {one.text}", add_special_tokens=False)["input_ids"] for one in batch]
        width = 1 + max(map(len, targets))
        tokens = torch.tensor([[*prompt, *target, *[end] * (width - len(target))] for target in targets])
        labels = torch.tensor([[*target, end, *[-100] * (width - 1 - len(target))] for target in targets])
        return {
            "input_features": torch.from_numpy(np.stack([one.features.T for one in batch]).astype(np.float32)),
            "decoder_input_ids": tokens[:, :-1],
            "labels": labels,
            "targets": targets,
        }


def ctc_head(model: Any) -> nn.Linear:
    """From encoder states to tokens and the blank, which is the last: for pretraining alone."""
    return nn.Linear(WIDTH, model.config.vocab_size + 1)


def losses(model: Any, head: nn.Linear, inputs: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """Cross-entropy of the transcript tokens, and CTC over the encoder's states."""
    output = model.model(
        input_features=inputs["input_features"], decoder_input_ids=inputs["decoder_input_ids"], use_cache=False
    )
    labels = inputs["labels"]
    predicting = output.last_hidden_state[:, -labels.shape[1] :]
    cross_entropy = F.cross_entropy(model.proj_out(predicting).float().flatten(0, 1), labels.flatten())

    log_probs = head(output.encoder_last_hidden_state).float().log_softmax(-1).transpose(0, 1)
    lengths = torch.full((log_probs.shape[1],), len(log_probs))
    sizes = torch.tensor([len(target) for target in inputs["targets"]])
    flat = torch.tensor([token for target in inputs["targets"] for token in target])
    return cross_entropy, F.ctc_loss(log_probs, flat, lengths, sizes, blank=head.out_features - 1, zero_infinity=True)
