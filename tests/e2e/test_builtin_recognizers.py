"""The recognizers that ship with the package: their form, their size, and that they recognize."""

import json

import pytest
import torch
from transformers import AutoModelForCTC, AutoModelForMultimodalLM, AutoModelForSpeechSeq2Seq, AutoProcessor

from antiphon.config import load_config
from antiphon.data.corpora.sets import CORPORA, TEST_SETS, builtin_set
from antiphon.evaluate.recognize import evaluate
from antiphon.models.load import CHECKPOINTS, builtin_names, load_policy
from antiphon.rollout.engines.in_process import InProcessEngine
from antiphon.tasks import asr
from antiphon.tasks.load import prompter

LIMITS = {"student": 1_500_000, "teacher": 2_500_000, "wav2vec2": 1_200_000, "whisper": 1_500_000}
QWEN3_ASR = (AutoModelForMultimodalLM, "Qwen3ASRForConditionalGeneration", "Qwen3ASRProcessor")
CLASSES = {
    "student": QWEN3_ASR,
    "teacher": QWEN3_ASR,
    "wav2vec2": (AutoModelForCTC, "Wav2Vec2ForCTC", "Wav2Vec2Processor"),
    "whisper": (AutoModelForSpeechSeq2Seq, "WhisperForConditionalGeneration", "WhisperProcessor"),
}
"""By what transformers loads each, and as what."""
NOISY = {"student": 0.60, "wav2vec2": 0.80, "whisper": 0.60}
"""The largest error rate in noise, of those to which loud noise is new."""


def card(name):
    return json.loads((CHECKPOINTS / name / "wer.json").read_text())


def load(name):
    loader, model_class, processor_class = CLASSES[name]
    model = loader.from_pretrained(CHECKPOINTS / name)
    processor = AutoProcessor.from_pretrained(CHECKPOINTS / name)
    assert (type(model).__name__, type(processor).__name__) == (model_class, processor_class)
    return model, processor


@pytest.mark.parametrize("name", LIMITS)
def test_form_and_size(name):
    model, _ = load(name)
    assert model.dtype == torch.float16
    assert sum(p.numel() for p in model.parameters()) <= LIMITS[name]


def test_every_recognizer_that_ships_is_tested():
    assert builtin_names() == sorted(LIMITS)


@pytest.mark.parametrize("name", ["student", "teacher"])
def test_the_prompt_is_that_of_qwen3_asr(name):
    _, processor = load(name)
    text = processor.apply_transcription_request(torch.zeros(16000).numpy(), tokenize=False)[0]
    assert text.startswith("<|im_start|>system\n<|im_end|>\n<|im_start|>user\n<|audio_start|>")
    assert text.endswith("<|im_end|>\n<|im_start|>assistant\n")


def heard_by_transformers_alone(name, waveform):
    model, processor = load(name)
    inputs = processor(waveform, sampling_rate=16000, return_tensors="pt")
    with torch.no_grad():
        if name == "whisper":
            return processor.batch_decode(model.float().generate(**inputs), skip_special_tokens=True)[0].strip()
        return processor.batch_decode(model.float()(**inputs).logits.argmax(-1))[0]


@pytest.mark.parametrize("name", ["wav2vec2", "whisper"])
def test_transformers_alone_hears_what_the_policy_hears(name):
    policy = load_policy(f"builtin:{name}", torch.device("cpu"), torch.float32)
    for example in builtin_set("commands-clean")[:3]:
        assert example.clip is not None
        waveform = example.clip.load(16000)
        (completion,) = InProcessEngine(policy).greedy([asr.task.prompt(example, waveform, 16000)], 32)
        assert policy.render(completion).text == heard_by_transformers_alone(name, waveform) != ""


@pytest.mark.parametrize("name", LIMITS)
def test_model_card_covers_every_set(name):
    text = (CHECKPOINTS / name / "README.md").read_text()
    for corpus in CORPORA:
        for one in TEST_SETS:
            assert f"| {corpus}-{one} |" in text
            assert card(name)[f"{corpus}-{one}"]["ci"] is not None
    assert "antiphon.builtin.pretrain" in text


@pytest.mark.parametrize("name", NOISY)
def test_clean_speech_is_known_and_noise_is_left_to_learn(name):
    assert card(name)["digits-clean"]["wer"] <= 0.05
    assert card(name)["commands-clean"]["wer"] <= 0.06
    assert 0.20 <= card(name)["commands-noisy"]["wer"] <= NOISY[name]
    assert 0.20 <= card(name)["digits-noisy"]["wer"] <= NOISY[name]


def test_the_teacher_hears_better_than_the_student():
    student, teacher = card("student"), card("teacher")
    for corpus in CORPORA:
        assert teacher[f"{corpus}-clean"]["wer"] <= student[f"{corpus}-clean"]["ci"][1]
        for one in set(TEST_SETS) - {"clean"}:
            assert teacher[f"{corpus}-{one}"]["wer"] < 0.8 * student[f"{corpus}-{one}"]["wer"]


@pytest.mark.parametrize("name", LIMITS)
def test_the_card_tells_the_truth(name):
    """A part of the clean commands, measured again, lies near what the card says of the whole."""
    policy = load_policy(f"builtin:{name}", torch.device("cpu"), torch.float32)
    prompt = prompter(load_config(), policy.rate)
    examples = builtin_set("commands-clean")[:60]
    summary, _ = evaluate(policy, InProcessEngine(policy).greedy, examples, prompt, 32)
    assert abs(summary["wer"] - card(name)["commands-clean"]["wer"]) <= 0.04
