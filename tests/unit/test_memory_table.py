"""The estimates of memory: the page has the script's table, and its formulas give what autograd keeps."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from antiphon.models.load import load_policy
from antiphon.types import Prompt

ROOT = Path(__file__).parents[2]
CLIPS, GROUP, NEW_TOKENS, RATE = 2, 8, 32, 16000


@pytest.fixture
def memory_table(monkeypatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    return importlib.import_module("memory_table")


def test_the_page_has_the_table(memory_table):
    assert memory_table.table() in (ROOT / "docs" / "memory.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_parameters_are_those_of_the_published_models(memory_table):
    published = {"Qwen2-Audio-7B": 8.40, "Voxtral-Mini-3B": 4.68, "Whisper-large-v3": 1.54, "wav2vec2-large": 0.315}
    for name, billions in published.items():
        assert memory_table.counted(name).parameters / 1e9 == pytest.approx(billions, rel=0.005)


@pytest.mark.slow
def test_activations_are_what_autograd_keeps(memory_table):
    """In bf16, as on a GPU; logits, whose chunks are made again, are left out."""
    policy: Any = load_policy("builtin:student", torch.device("cpu"), torch.bfloat16)
    weights = {one.untyped_storage().data_ptr() for one in policy.model.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        place = tensor.untyped_storage().data_ptr()
        if place not in weights and tensor.shape[-1] != policy.vocabulary:
            kept[place] = tensor
        return tensor

    noise = np.random.default_rng(0).standard_normal((CLIPS, 10 * RATE)).astype(np.float32)
    prompts = [Prompt(f"p{i}", 0.1 * clip, RATE) for i, clip in enumerate(noise)]
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        tokens = torch.full((CLIPS * GROUP, NEW_TOKENS), 5)
        policy.logprobs(policy.encode(prompts), tokens, torch.ones_like(tokens), 1.0)
    measured = sum(tensor.untyped_storage().nbytes() for tensor in kept.values())

    audio = policy.model.config.audio_config
    hears, writes = memory_table.layers(policy.model.config)
    length = policy.size(prompts[0])
    estimate = (
        CLIPS * memory_table.qwen3_convolutions(audio.downsample_hidden_size, audio.num_mel_bins)
        + memory_table.stack(hears, CLIPS * 130, 0)
        + memory_table.stack(writes, CLIPS * (length + GROUP * NEW_TOKENS), CLIPS * GROUP * (length + NEW_TOKENS))
    )
    assert estimate == pytest.approx(measured, rel=0.1), (estimate, measured)
