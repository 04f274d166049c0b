"""Estimates of GPU memory by model and method: the table of docs/memory.md, which explains every term.

    python scripts/memory_table.py            print the table
    python scripts/memory_table.py --write    write it into the page

Parameters are counted in transformers' own classes on the meta device, at the sizes of the published models. Bytes a
position are formulas in the widths of a layer.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import nn

from antiphon.models.submodules import parts

PAGE = Path(__file__).parents[1] / "docs" / "memory.md"
MARKS = ("<!-- table, by scripts/memory_table.py -->\n", "<!-- end of table -->")

SECONDS, PROMPTS, GROUP, NEW_TOKENS, RANK = 10, 16, 8, 32, 16
PASS_POSITIONS = 4096
"""`train.max_tokens_per_batch`."""
LOGITS = 5 * 2**25
"""Bytes of one chunk of logits and what its backward pass holds beside it."""
GB = 1e9


@dataclass(frozen=True)
class Model:
    """A published model: its class with its sizes, and what ten seconds of audio are to it."""

    name: str
    build: Callable[[], nn.Module]
    positions: int
    """Of a clip's prompt, framing included; where audio is no part of a token sequence, its encoder's frames."""
    frames: int
    """Positions of its encoder's layers."""
    convolutions: int
    """Bytes that the convolutions before those layers keep for a clip."""
    new_tokens: int = NEW_TOKENS
    teacher: str = ""
    """What it learns from in the column on distillation; by default a model of its own size."""


def qwen3_asr(width: int, feed_forward: int, encoder: dict[str, int]) -> nn.Module:
    text = {"hidden_size": width, "intermediate_size": feed_forward, "num_hidden_layers": 28, "vocab_size": 151936}
    heads = {"num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 128}
    config: Any = transformers.Qwen3ASRConfig(
        text_config={"model_type": "qwen3", **text, **heads, "tie_word_embeddings": True},
        audio_config={"model_type": "qwen3_asr_encoder", "output_dim": width, **encoder},
    )
    return transformers.Qwen3ASRForConditionalGeneration(config)


def qwen2_audio() -> nn.Module:
    text = {"hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32, "vocab_size": 156032}
    heads = {"num_attention_heads": 32, "num_key_value_heads": 32}
    config = transformers.Qwen2AudioConfig(text_config={"model_type": "qwen2", **text, **heads})
    return transformers.Qwen2AudioForConditionalGeneration(config)


def omni_thinker(**text: int) -> nn.Module:
    vision = {"hidden_size": 1280, "out_hidden_size": text["hidden_size"]}
    config = transformers.Qwen2_5OmniThinkerConfig(
        text_config={**text, "tie_word_embeddings": False},
        audio_config={"output_dim": text["hidden_size"]},
        vision_config=vision,
    )
    return transformers.Qwen2_5OmniThinkerForConditionalGeneration(config)


def voxtral() -> nn.Module:
    text = {"hidden_size": 3072, "intermediate_size": 8192, "num_hidden_layers": 30, "vocab_size": 131072}
    heads = {"num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128}
    config = transformers.VoxtralConfig(text_config={"model_type": "llama", **text, **heads}, audio_token_id=24)
    return transformers.VoxtralForConditionalGeneration(config)


def whisper_large() -> nn.Module:
    layers = {f"{part}_{key}": value for part in ("encoder", "decoder") for key, value in WHISPER_LAYERS.items()}
    config = transformers.WhisperConfig(d_model=1280, num_mel_bins=128, vocab_size=51866, **layers)  # type: ignore[arg-type]
    return transformers.WhisperForConditionalGeneration(config)


def wav2vec2_large() -> nn.Module:
    sizes = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096}
    return transformers.Wav2Vec2ForCTC(transformers.Wav2Vec2Config(**sizes))  # type: ignore[arg-type]


WHISPER_LAYERS = {"layers": 32, "attention_heads": 20, "ffn_dim": 5120}
SMALL_ENCODER = {"d_model": 896, "encoder_layers": 18, "encoder_attention_heads": 14, "encoder_ffn_dim": 3584}
OMNI_3B = {
    "hidden_size": 2048,
    "intermediate_size": 11008,
    "num_hidden_layers": 36,
    "num_attention_heads": 16,
    "num_key_value_heads": 2,
    "vocab_size": 151936,
}
OMNI_7B = {
    "hidden_size": 3584,
    "intermediate_size": 18944,
    "num_hidden_layers": 28,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "vocab_size": 152064,
}


def conv_bytes(values_a_second: float, seconds: int = SECONDS) -> int:
    """Of convolutions that make so many values a second: each is kept before and after its GELU, in bf16."""
    return round(4 * values_a_second * seconds)


def qwen3_convolutions(channels: int = 480, mel_bins: int = 128, seconds: int = SECONDS) -> int:
    """Three over mel bins and 100 frames a second, each of which halves both."""
    return conv_bytes(sum(channels * mel_bins / 2**i * 100 / 2**i for i in (1, 2, 3)), seconds)


QWEN3_CONVOLUTIONS = qwen3_convolutions()
WHISPER_CONVOLUTIONS = 1280 * (100 + 50)
WAV2VEC2_CONVOLUTIONS = conv_bytes(512 * sum(16000 / stride for stride in (5, 10, 20, 40, 80, 160, 320)))

MODELS = [
    Model(
        "Qwen3-ASR-0.6B",
        lambda: qwen3_asr(1024, 3072, SMALL_ENCODER),
        150,
        130,
        QWEN3_CONVOLUTIONS,
        teacher="Qwen3-ASR-1.7B",
    ),
    Model("Qwen3-ASR-1.7B", lambda: qwen3_asr(2048, 6144, {}), 150, 130, QWEN3_CONVOLUTIONS),
    Model("Qwen2-Audio-7B", qwen2_audio, 280, 1500, conv_bytes(WHISPER_CONVOLUTIONS, 30)),
    Model(
        "Qwen2.5-Omni-3B",
        lambda: omni_thinker(**OMNI_3B),
        280,
        500,
        conv_bytes(WHISPER_CONVOLUTIONS),
    ),
    Model(
        "Qwen2.5-Omni-7B",
        lambda: omni_thinker(**OMNI_7B),
        280,
        500,
        conv_bytes(WHISPER_CONVOLUTIONS),
    ),
    Model("Voxtral-Mini-3B", voxtral, 380, 1500, conv_bytes(WHISPER_CONVOLUTIONS, 30)),
    Model("Whisper-large-v3", whisper_large, 1500, 1500, conv_bytes(WHISPER_CONVOLUTIONS, 30)),
    Model("wav2vec2-large", wav2vec2_large, 499, 499, WAV2VEC2_CONVOLUTIONS, new_tokens=120),
]


@dataclass(frozen=True)
class Layers:
    """A stack of transformer layers, and the bytes that one keeps for its backward pass, in bf16."""

    number: int
    width: int
    queries: int
    """Heads times their width."""
    keys: int
    feed_forward: int
    gated: bool
    """RMSNorm and SwiGLU, rather than LayerNorm and GELU."""
    crosses: bool = False
    """Whether it attends to an encoder's frames too."""

    @property
    def kept(self) -> int:
        """Of a position: what its norms, projections and feed-forward network read and return."""
        if self.gated:
            return 16 * self.width + 6 * (self.queries + self.keys) + 8 * self.feed_forward
        return (24 if self.crosses else 16) * self.width + 4 * self.feed_forward

    @property
    def cached(self) -> int:
        """Keys and values of a position."""
        return 4 * self.keys

    @property
    def attended(self) -> int:
        """Of a position that a completion attends to: its keys and values beside each completion, and once more for
        each head where heads share them."""
        return self.cached + (4 * self.queries if self.queries != self.keys else 0)


@dataclass(frozen=True)
class Counted:
    """A model's parameters and layers."""

    parameters: int
    encoder: int
    idle: int
    """Parameters that hear and write nothing: the vision encoder of omni models."""
    adapters: int
    """Parameters of LoRA on every linear layer but the head."""
    hears: Layers
    writes: Layers | None


@cache
def counted(name: str) -> Counted:
    with torch.device("meta"):
        model: Any = next(one for one in MODELS if one.name == name).build()
    there = parts(model)
    idle = _parameters(model, there.get("vision_encoder", []))
    linear = [
        module
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and not name.startswith(tuple(there["head"] + there.get("vision_encoder", [])))
    ]
    adapters = sum(RANK * (one.in_features + one.out_features) for one in linear)
    total = sum(one.numel() for one in model.parameters())
    hears, writes = layers(model.config)
    return Counted(total, _parameters(model, there["audio_encoder"]), idle, adapters, hears, writes)


def _parameters(model: nn.Module, places: list[str]) -> int:
    return sum(one.numel() for place in places for one in model.get_submodule(place).parameters())


def layers(config: Any) -> tuple[Layers, Layers | None]:
    """The layers that hear and those that write."""
    audio = getattr(config, "audio_config", config)
    width = audio.hidden_size
    feed_forward = getattr(audio, "encoder_ffn_dim", None) or audio.intermediate_size
    hears = Layers(audio.num_hidden_layers, width, width, width, feed_forward, gated=False)
    if config.model_type == "wav2vec2":
        return hears, None
    if config.model_type == "whisper":
        return hears, Layers(config.decoder_layers, width, width, width, config.decoder_ffn_dim, False, crosses=True)
    text = config.get_text_config()
    head = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    queries, keys = text.num_attention_heads * head, text.num_key_value_heads * head
    return hears, Layers(text.num_hidden_layers, text.hidden_size, queries, keys, text.intermediate_size, gated=True)


def activations(model: Model, group: int, frozen_encoder: bool = False, checkpointing: bool = False) -> float:
    """Bytes that one forward and backward pass of `PASS_POSITIONS` keeps."""
    size = counted(model.name)
    clips = min(max(PASS_POSITIONS // (model.positions + group * model.new_tokens), 1), PROMPTS)
    heard = clips * model.frames
    kept = 0 if frozen_encoder else clips * model.convolutions + stack(size.hears, heard, 0, checkpointing)
    if size.writes is None:
        return kept
    prompt = 4 if size.writes.crosses else model.positions
    written = clips * (prompt + group * model.new_tokens)
    attended = clips * group * (prompt + model.new_tokens)
    crossed = heard * size.writes.cached * size.writes.number if size.writes.crosses else 0
    return kept + stack(size.writes, written, attended, checkpointing) + crossed + LOGITS


def stack(layers: Layers, positions: int, attended: int, checkpointing: bool = False) -> int:
    """Bytes that a stack of layers keeps; with checkpointing a layer's input and the prompts' keys, and the rest of
    one layer at a time."""
    one = positions * layers.kept + attended * layers.attended
    if not checkpointing:
        return layers.number * one
    return layers.number * (positions * 2 * layers.width + attended * layers.cached) + one


def rollout_cache(model: Model, group: int) -> int:
    """Bytes of keys and values while the answers of a step are sampled."""
    writes = counted(model.name).writes
    if writes is None:
        return 0
    prompt = model.frames if writes.crosses else model.positions
    return PROMPTS * (prompt + group * model.new_tokens) * writes.cached * writes.number


def peak(trained: float, resting: float, kept: float, cache: float) -> float:
    """The most of three moments, in GB. `resting` are parameters that are read alone, in bf16."""
    rollout = 14 * trained + cache  # weights, fp32 masters and both moments
    backward = 18 * trained + kept  # and fp32 gradients
    update = 22 * trained  # and what AdamW makes beside them
    return (max(rollout, backward, update) + 2 * resting) / GB


def row(model: Model) -> list[str]:
    size = counted(model.name)
    teacher = counted(model.teacher or model.name)
    all_of_it = size.parameters - size.idle
    cache = rollout_cache(model, GROUP)
    grpo = activations(model, GROUP)
    figures = [
        peak(all_of_it, size.idle, grpo, cache),
        peak(all_of_it, size.idle, activations(model, GROUP, checkpointing=True), cache),
        peak(all_of_it - size.encoder, size.idle + size.encoder, activations(model, GROUP, frozen_encoder=True), cache),
        peak(size.adapters, size.parameters, grpo, cache),
        peak(size.adapters, size.parameters, activations(model, GROUP, checkpointing=True), cache),
        peak(all_of_it, size.idle + teacher.parameters, activations(model, 1), rollout_cache(model, 1)),
        peak(all_of_it, size.idle, activations(model, 1), 0),
    ]
    if size.writes is None:
        figures[2] = float("nan")
    return [
        model.name,
        f"{size.parameters / 1e9:.2f} B",
        *(f"{one:.0f}" if one >= 10 else f"{one:.1f}" for one in figures),
    ]


def table() -> str:
    columns = ["Model", "Parameters", "GRPO", "+ ckpt", "frozen encoder", "LoRA", "+ ckpt", "OPD", "SFT"]
    rows = [columns, ["---", *["---:"] * (len(columns) - 1)], *(row(model) for model in MODELS)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in rows).replace("| nan |", "| – |")


def main() -> None:
    if "--write" not in sys.argv:
        print(table())
        return
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(MARKS[0])
    after = rest.partition(MARKS[1])[2]
    PAGE.write_text(f"{before}{MARKS[0]}\n{table()}\n{MARKS[1]}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
