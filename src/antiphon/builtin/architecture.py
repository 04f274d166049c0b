"""The student and the teacher: transformers' own Qwen3-ASR classes, tokenizer and processor, made small.

Whatever runs on these runs on Qwen/Qwen3-ASR-1.7B-hf: the special tokens, the chat template, the answer's
form (`antiphon.text.language_tag`) and the classes are the same; only the sizes differ.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Regex, Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel, Sequence, Split
from tokenizers.trainers import BpeTrainer
from torch import Tensor, nn
from transformers import (
    Qwen2Tokenizer,
    Qwen3ASRConfig,
    Qwen3ASRFeatureExtractor,
    Qwen3ASRForConditionalGeneration,
    Qwen3ASRProcessor,
)
from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX

from antiphon.builtin.speech import HEARD, Utterance
from antiphon.data.corpora import commands, digits
from antiphon.data.corpora.sets import SYNTHESIS_RATE
from antiphon.text.language_tag import TAG, tagged

MEL_BINS = 64
CHAT_TEMPLATE = """\
<|im_start|>system
{% for m in messages if m.role == 'system' %}\
{% if m.content is string %}{{ m.content }}{% else %}{% for c in m.content %}{{ c.text }}{% endfor %}{% endif %}\
{% endfor %}<|im_end|>
{% for m in messages if m.role != 'system' %}\
<|im_start|>{{ m.role }}
{% if m.content is string %}{{ m.content }}{% else %}{% for c in m.content %}\
{% if c.type == 'audio' %}<|audio_start|><|audio_pad|><|audio_end|>{% else %}{{ c.text }}{% endif %}\
{% endfor %}{% endif %}<|im_end|>
{% endfor %}\
{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""


@dataclass(frozen=True)
class Size:
    """Widths and depths of one built-in recognizer."""

    width: int
    audio_layers: int
    text_layers: int
    heads: int
    feed_forward: int
    conv_channels: int


SIZES = {
    "student": Size(width=144, audio_layers=3, text_layers=2, heads=4, feed_forward=432, conv_channels=32),
    "teacher": Size(width=176, audio_layers=5, text_layers=2, heads=4, feed_forward=480, conv_channels=40),
}


def build_tokenizer() -> Qwen2Tokenizer:
    """A byte-level BPE in Qwen's form in which every word of the corpora is one token."""
    words = sorted({*commands.vocabulary(), *digits.WORDS})
    texts = [form for word in words for form in (word, f" {word}")]
    texts += ["language", " English", " None", "system", "user", "assistant"]
    pattern = Split(Regex(PRETOKENIZE_REGEX), behavior="isolated")
    bpe = Tokenizer(BPE())
    bpe.pre_tokenizer = Sequence([pattern, ByteLevel(add_prefix_space=False, use_regex=False)])
    trainer = BpeTrainer(
        vocab_size=6000, min_frequency=1, initial_alphabet=sorted(ByteLevel.alphabet()), show_progress=False
    )
    bpe.train_from_iterator(texts, trainer)
    model = json.loads(bpe.to_str())["model"]
    merges: Any = [tuple(merge) for merge in model["merges"]]
    tokenizer = Qwen2Tokenizer(
        model["vocab"],
        merges,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        unk_token="<|endoftext|>",
        extra_special_tokens={
            "audio_token": "<|audio_pad|>",
            "audio_bos_token": "<|audio_start|>",
            "audio_eos_token": "<|audio_end|>",
        },
    )
    tokenizer.add_tokens(["<|im_start|>"], special_tokens=True)
    tokenizer.add_tokens([TAG, "<timestamp>"])
    return tokenizer


def build_processor() -> Qwen3ASRProcessor:
    """Feature extractor, tokenizer and chat template in transformers' own processor class."""
    return Qwen3ASRProcessor(
        feature_extractor=Qwen3ASRFeatureExtractor(feature_size=MEL_BINS),
        tokenizer=build_tokenizer(),
        chat_template=CHAT_TEMPLATE,
    )


def build_model(size: Size, processor: Qwen3ASRProcessor) -> Qwen3ASRForConditionalGeneration:
    """An untrained recognizer of the given size for the processor's vocabulary, in fp32."""
    tokenizer = processor.tokenizer
    token = tokenizer.convert_tokens_to_ids
    head_dim = size.width // size.heads
    config = Qwen3ASRConfig(
        **HEARD,
        audio_config={
            "model_type": "qwen3_asr_encoder",
            "num_mel_bins": MEL_BINS,
            "encoder_layers": size.audio_layers,
            "encoder_attention_heads": size.heads,
            "encoder_ffn_dim": size.feed_forward,
            "d_model": size.width,
            "output_dim": size.width,
            "downsample_hidden_size": size.conv_channels,
        },
        text_config={
            "model_type": "qwen3",
            "vocab_size": len(tokenizer),
            "hidden_size": size.width,
            "intermediate_size": size.feed_forward,
            "num_hidden_layers": size.text_layers,
            "num_attention_heads": size.heads,
            "num_key_value_heads": size.heads // 2,
            "head_dim": head_dim,
            "max_position_embeddings": 4096,
            "tie_word_embeddings": True,
        },
        audio_token_id=token("<|audio_pad|>"),
        timestamp_token_id=token("<timestamp>"),
        pad_token_id=token("<|endoftext|>"),
        eos_token_id=[token("<|endoftext|>"), token("<|im_end|>")],
        tie_word_embeddings=True,
    )
    model: Any = Qwen3ASRForConditionalGeneration(config)
    _rescale_convolutions(model)
    model.generation_config.max_new_tokens = 64
    return model


def _rescale_convolutions(model: Qwen3ASRForConditionalGeneration) -> None:
    """Draw the convolutions so that they keep the signal's scale (He et al. 2015).

    The default deviation of 0.02 shrinks a spectrogram ten-thousandfold before positions of size one are added;
    tests that need an audio-dependent model at random weights need this.
    """
    tower = model.model.audio_tower
    for module in (tower.conv2d1, tower.conv2d2, tower.conv2d3, tower.conv_out):
        torch.nn.init.kaiming_normal_(module.weight)


def audio_token_count(frames: int | np.ndarray) -> int | np.ndarray:
    """Audio tokens of a clip of `frames` mel frames (10 ms each): 13 a second, as the encoder's strides make them."""
    rest = frames % 100
    for _ in range(3):
        rest = (rest - 1) // 2 + 1
    return rest + (frames // 100) * 13


def features(processor: Qwen3ASRProcessor, waveform: np.ndarray) -> np.ndarray:
    """Log-mel features [frames, mel] in float16 of one clip [samples] at 16 kHz."""
    mel = processor.feature_extractor(waveform, sampling_rate=SYNTHESIS_RATE, padding=True, n_window=0)
    return mel["input_features"][0].numpy().T.astype(np.float16)


class Collator:
    """Turns utterances into the model's inputs: prompt, transcript and labels that cover the transcript alone."""

    def __init__(self, processor: Any) -> None:
        prompt = processor.apply_transcription_request(np.zeros(16000, np.float32), tokenize=False)[0]
        before, after = prompt.split("<|audio_pad|>")
        self.tokenizer = processor.tokenizer
        self.before, self.after = self._ids(before), self._ids(after)
        self.audio, self.pad = processor.audio_token_id, self.tokenizer.pad_token_id
        self.answer_head = self._ids(tagged("", "English"))
        self.stop = self.tokenizer.convert_tokens_to_ids("<|im_end|>")

    def _ids(self, text: str) -> list[int]:
        return self.tokenizer(text)["input_ids"]

    def __call__(self, batch: list[Utterance]) -> dict[str, Any]:
        longest = math.ceil(max(len(one.features) for one in batch) / 100) * 100
        mels = torch.zeros(len(batch), MEL_BINS, longest)
        frames = torch.zeros(len(batch), longest, dtype=torch.long)
        rows, labels, targets = [], [], []
        for i, one in enumerate(batch):
            heard = len(one.features)
            mels[i, :, :heard] = torch.from_numpy(one.features.T.astype(np.float32))
            frames[i, :heard] = 1
            words = self._ids(one.text)
            answer = [*self.answer_head, *words, self.stop]
            prompt = [*self.before, *[self.audio] * int(audio_token_count(heard)), *self.after]
            rows.append(prompt + answer)
            labels.append([-100] * len(prompt) + answer)
            targets.append(words)
        width = max(map(len, rows))
        return {
            "input_features": mels,
            "input_features_mask": frames,
            "input_ids": torch.tensor([row + [self.pad] * (width - len(row)) for row in rows]),
            "attention_mask": torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows]),
            "labels": torch.tensor([row + [-100] * (width - len(row)) for row in labels]),
            "targets": targets,
        }


def ctc_head(model: Any) -> nn.Linear:
    """From audio states to tokens and the blank, which is the last: for pretraining alone."""
    text = model.config.text_config
    return nn.Linear(text.hidden_size, text.vocab_size + 1)


def losses(model: Any, head: nn.Linear | None, inputs: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """Cross-entropy of the transcript tokens, and CTC over the audio states (0 without a head)."""
    labels = inputs["labels"]
    output = model.model(**{k: inputs[k] for k in inputs if k not in ("labels", "targets")}, use_cache=False)
    predicts = labels[:, 1:] != -100
    logits = model.lm_head(output.last_hidden_state[:, :-1][predicts])
    cross_entropy = F.cross_entropy(logits, labels[:, 1:][predicts])

    if head is None:
        return cross_entropy, torch.zeros(())
    lengths = torch.tensor([audio_token_count(int(n)) for n in inputs["input_features_mask"].sum(-1)])
    states = nn.utils.rnn.pad_sequence(list(output.audio_hidden_states.split(lengths.tolist())))
    log_probs = head(states).log_softmax(-1)
    sizes = torch.tensor([len(t) for t in inputs["targets"]])
    flat = torch.tensor([t for target in inputs["targets"] for t in target])
    ctc = F.ctc_loss(log_probs, flat, lengths, sizes, blank=head.out_features - 1, zero_infinity=True)
    return cross_entropy, ctc


@torch.no_grad()
def prune_text_mlp(model: Any, width: int) -> None:
    """Keep the `width` strongest units of every text MLP: those of the largest product of weight norms."""
    for layer in model.model.language_model.layers:
        mlp = layer.mlp
        strength = mlp.gate_proj.weight.norm(dim=1) * mlp.up_proj.weight.norm(dim=1) * mlp.down_proj.weight.norm(dim=0)
        kept = strength.topk(width).indices.sort().values
        for linear in (mlp.gate_proj, mlp.up_proj):
            linear.weight = nn.Parameter(linear.weight[kept])
            linear.out_features = width
        mlp.down_proj.weight = nn.Parameter(mlp.down_proj.weight[:, kept])
        mlp.down_proj.in_features = mlp.intermediate_size = width
    model.config.text_config.intermediate_size = width
