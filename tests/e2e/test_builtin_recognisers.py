"""The recognisers that ship with the package: their form, their size, and that they recognise."""

import json

import pytest
import torch
from transformers import AutoModelForMultimodalLM, AutoProcessor

from antiphon.config import load_config
from antiphon.data.corpora.sets import CORPORA, TEST_SETS, builtin_set
from antiphon.evaluate.recognise import evaluate
from antiphon.models.load import CHECKPOINTS, load_policy
from antiphon.rollout.engine import InProcessEngine
from antiphon.tasks.load import prompter

LIMITS = {"student": 1_500_000, "teacher": 2_500_000}


def card(name):
    return json.loads((CHECKPOINTS / name / "wer.json").read_text())


@pytest.mark.parametrize("name", LIMITS)
def test_form_and_size(name):
    model = AutoModelForMultimodalLM.from_pretrained(CHECKPOINTS / name)
    processor = AutoProcessor.from_pretrained(CHECKPOINTS / name)
    assert type(model).__name__ == "Qwen3ASRForConditionalGeneration"
    assert type(processor).__name__ == "Qwen3ASRProcessor"
    assert model.dtype == torch.float16
    assert sum(p.numel() for p in model.parameters()) <= LIMITS[name]
    text = processor.apply_transcription_request(torch.zeros(16000).numpy(), tokenize=False)[0]
    assert text.startswith("<|im_start|>system\n<|im_end|>\n<|im_start|>user\n<|audio_start|>")
    assert text.endswith("<|im_end|>\n<|im_start|>assistant\n")


@pytest.mark.parametrize("name", LIMITS)
def test_model_card_covers_every_set(name):
    text = (CHECKPOINTS / name / "README.md").read_text()
    for corpus in CORPORA:
        for one in TEST_SETS:
            assert f"| {corpus}-{one} |" in text
            assert card(name)[f"{corpus}-{one}"]["ci"] is not None
    assert "antiphon.builtin.pretrain" in text


def test_published_error_rates_meet_their_targets():
    student, teacher = card("student"), card("teacher")
    assert student["digits-clean"]["wer"] <= 0.05
    assert student["commands-clean"]["wer"] <= 0.06
    for corpus in CORPORA:
        assert 0.20 <= student[f"{corpus}-noisy"]["wer"] <= 0.60
        assert teacher[f"{corpus}-clean"]["wer"] <= student[f"{corpus}-clean"]["ci"][1]
        for one in set(TEST_SETS) - {"clean"}:
            assert teacher[f"{corpus}-{one}"]["wer"] < 0.8 * student[f"{corpus}-{one}"]["wer"]


@pytest.mark.parametrize("name", LIMITS)
def test_the_card_tells_the_truth(name):
    """A part of the clean commands, measured again, lies near what the card says of the whole."""
    policy = load_policy(f"builtin:{name}", torch.device("cpu"), torch.float32)
    prompt = prompter(load_config(), policy.rate)
    examples = builtin_set("commands-clean")[:60]
    summary, _ = evaluate(policy, InProcessEngine(policy), examples, prompt, 32)
    assert abs(summary["wer"] - card(name)["commands-clean"]["wer"]) <= 0.04
