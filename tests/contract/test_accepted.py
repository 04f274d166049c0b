"""What a server says that its models can be given."""

from __future__ import annotations

import pytest
from subjects import make

from antiphon.serve.services import accepted

MODELS = {
    "qwen3_asr": ["audio", "language", "prompt", "messages"],
    "glmasr": ["audio", "prompt", "messages"],
    "whisper": ["audio", "language", "prompt"],
    "cohere_asr": ["audio", "language"],
    "wav2vec2_group-ctc": ["audio"],
    "wav2vec2_group-classifier": ["audio"],
    "qwen3-text": ["messages"],
}


@pytest.mark.parametrize("name", MODELS)
def test_what_a_model_accepts(name, tmp_path, monkeypatch):
    assert accepted(make(name, tmp_path, monkeypatch).policy) == MODELS[name]
