"""`data.augment`: what each effect does, that it depends on seed, id and epoch alone, and who hears it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import tiny_ctc
import torch
from helpers import audible

from antiphon.audio.augmentation import Augmentation
from antiphon.audio.codecs import CODECS, transcode
from antiphon.config import load_config
from antiphon.config.augment import Augment
from antiphon.data.augmented import load_augmenter
from antiphon.data.stream import PromptStream
from antiphon.distributed.world import World
from antiphon.errors import AudioError, ConfigError
from antiphon.models.ctc import CTC
from antiphon.models.policy import Sampling, uniforms_for
from antiphon.train.batch import make_batch
from antiphon.train.score import rollout_logprobs
from antiphon.train.teachers.by_text import TextTeacher
from antiphon.types import Example, Group, Prompt

RATE = 16000
EFFECTS: dict[str, dict[str, Any]] = {
    "speed": {},
    "reverb": {},
    "noise": {},
    "codec": {},
    "telephone": {},
    "gain": {},
    "time_mask": {},
    "frequency_mask": {},
}


def speech(seconds: float = 2.0, seed: int = 0) -> np.ndarray:
    rng, time = np.random.default_rng(seed), np.arange(round(seconds * RATE)) / RATE
    return (0.1 * np.sin(2 * np.pi * 300 * time) + 0.02 * rng.standard_normal(len(time))).astype(np.float32)


def augmented(settings: dict[str, Any], waveform: np.ndarray, seed: int = 0, **options: Any) -> np.ndarray:
    always = {name: {"probability": 1.0, **given} for name, given in settings.items()}
    return Augmentation(Augment(**always), RATE)(waveform, np.random.default_rng(seed), **options)


def power(samples: np.ndarray) -> float:
    return float(np.mean(samples.astype(np.float64) ** 2))


@pytest.mark.parametrize("snr", [-3.0, 5.0, 17.5])
@pytest.mark.parametrize("recorded", [False, True])
def test_noise_is_at_its_ratio_to_a_tenth_of_a_decibel(tmp_path: Path, snr: float, recorded: bool):
    soundfile.write(tmp_path / "hum.wav", 0.3 * speech(0.7, 9), 8000)
    files = [str(tmp_path)] if recorded else []
    clean = speech()
    noisy = augmented({"noise": {"snr_db": [snr, snr], "files": files}}, clean)
    found = 10 * np.log10(power(clean) / power(noisy.astype(np.float64) - clean))
    assert found == pytest.approx(snr, abs=0.1)


@pytest.mark.parametrize("factor", [0.8, 1.0, 1.25])
def test_speed_changes_length_and_pitch_together(factor: float):
    faster = augmented({"speed": {"factor": [factor, factor]}}, speech())
    assert len(faster) == pytest.approx(2 * RATE / factor, abs=2)
    assert np.argmax(np.abs(np.fft.rfft(faster))) / len(faster) * RATE == pytest.approx(300 * factor, abs=1)


def test_a_speed_that_the_model_cannot_take_is_not_taken():
    slow = {"speed": {"factor": [0.8, 0.8]}}
    assert len(augmented(slow, speech(), fits=lambda seconds: seconds <= 2.2)) == 2 * RATE
    assert len(augmented(slow, speech(), fits=lambda seconds: seconds <= 2.6)) == 2.5 * RATE


@pytest.mark.parametrize("delay", [0, 40, 400])
def test_a_measured_room_echoes_and_stays_in_place(tmp_path: Path, delay: int):
    response = np.zeros(2000, np.float32)
    response[delay], response[delay + 800] = 1.0, 0.5
    soundfile.write(tmp_path / "room.wav", response, RATE, subtype="FLOAT")
    click = np.zeros(4000, np.float32)
    click[1000] = 0.1
    wet = augmented({"reverb": {"files": [str(tmp_path / "room.wav")]}}, click)
    assert power(wet) == pytest.approx(power(click), rel=1e-4)
    assert np.argmax(wet) == 1000
    assert wet[1800] / wet[1000] == pytest.approx(0.5, abs=1e-3)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("rate", [16000, 24000])
def test_codecs_keep_the_length_and_most_of_the_speech(codec: str, rate: int):
    clean = np.repeat(speech(), 2)[::1][: 2 * rate] if rate != RATE else speech()
    heard = transcode(clean, rate, codec, 0.5)
    assert heard.shape == clean.shape
    assert heard.dtype == np.float32
    assert 0.85 < np.corrcoef(clean, heard)[0, 1] < 0.99999


@pytest.mark.parametrize("db", [-20.0, -6.0, 3.0])
def test_gain_is_in_decibels(db: float):
    louder = augmented({"gain": {"db": [db, db]}}, speech())
    assert 10 * np.log10(power(louder) / power(speech())) == pytest.approx(db, abs=1e-3)


def test_what_would_be_too_loud_is_made_quieter_as_a_whole():
    clean = speech() * 8
    louder = augmented({"gain": {"db": [20.0, 20.0]}}, clean)
    assert np.abs(louder).max() == pytest.approx(1.0)
    assert np.corrcoef(clean, louder)[0, 1] == pytest.approx(1.0)


@pytest.mark.parametrize("seed", range(3))
def test_masks_silence_a_span_and_a_band(seed: int):
    clean = speech()
    spans = augmented({"time_mask": {"spans": 1, "seconds": [0.1, 0.1]}}, clean, seed)
    assert np.sum(spans == 0) == pytest.approx(0.1 * RATE, abs=3)
    assert np.array_equal(spans[spans != 0], clean[spans != 0])
    noise = 0.1 * np.random.default_rng(1).standard_normal(2 * RATE).astype(np.float32)
    spectrum = np.abs(np.fft.rfft(augmented({"frequency_mask": {"bands": 1, "hertz": [400, 400]}}, noise, seed)))
    assert np.sum(spectrum < 1e-2) / 2 == pytest.approx(400, abs=10)


@pytest.mark.parametrize("seconds", [0.02, 0.3, 3.0])
def test_all_effects_together_are_finite_and_within_scale(seconds: float):
    heard = augmented(EFFECTS, speech(seconds))
    assert np.isfinite(heard).all()
    assert np.abs(heard).max() <= 1
    assert augmented(EFFECTS, np.zeros(RATE, np.float32)).max() < 1e-6


def recipe(*overrides: str) -> Any:
    return load_config(overrides=["data.augment={noise: {}, speed: {}, reverb: {}, codec: {}}", *overrides])


OPEN: list[PromptStream] = []


@pytest.fixture(autouse=True)
def closed():
    """Streams have threads."""
    yield
    while OPEN:
        OPEN.pop().close()


class Heard:
    """A stream of ten clips, three a step."""

    def __init__(self, config: Any, world: World | None = None) -> None:
        examples = [Example(f"clip-{number}", "asr", None, "") for number in range(10)]
        waveforms = {one.id: speech(0.3, number) for number, one in enumerate(examples)}
        self.stream = PromptStream(
            examples,
            3,
            0,
            lambda one: Prompt(one.id, waveforms[one.id], RATE),
            world,
            load_augmenter(config, RATE),
        )

        OPEN.append(self.stream)

    def at(self, step: int) -> dict[str, Prompt]:
        return {prompt.id: prompt for prompt in self.stream.prompts(step)}


def test_it_depends_on_seed_id_and_epoch_alone():
    through, resumed = Heard(recipe()), Heard(recipe())
    all_steps = [through.at(step) for step in range(6)]
    for step in (5, 3, 4):
        for id, prompt in resumed.at(step).items():
            np.testing.assert_array_equal(prompt.waveform, all_steps[step][id].waveform)
    first = {id: one for step in all_steps[:3] for id, one in step.items()}
    again = {id: one for step in all_steps[3:] for id, one in step.items()}
    both = first.keys() & again.keys()
    assert len(both) >= 8
    assert sum(np.array_equal(first[id].waveform, again[id].waveform) for id in both) <= 2
    other = Heard(recipe("seed=1")).at(0)
    assert sum(np.array_equal(other[id].waveform, one.waveform) for id, one in all_steps[0].items()) <= 1


def test_others_hear_the_clip_as_it_was_recorded():
    for prompt in Heard(recipe()).at(0).values():
        clean = speech(0.3, int(prompt.id.removeprefix("clip-")))
        np.testing.assert_array_equal(prompt.unaugmented().waveform, clean)
        assert prompt.without_waveform().clean is None
    for prompt in Heard(recipe("data.augment.others_hear_it=true")).at(0).values():
        assert prompt.unaugmented() is prompt


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("data.augment={}", "has no effect"),
        ("data.augment.noise={snr_db: [9, 3]}", r"data\.augment\.noise\.snr_db"),
        ("data.augment.codec={names: [g729]}", r"data\.augment\.codec\.names"),
        ("data.augment.speed={factor: [0, 1]}", r"data\.augment\.speed\.factor"),
        ("data.augment.reverberation={}", r"data\.augment\.reverb"),
    ],
)
def test_settings_that_make_no_sense(setting: str, said: str):
    with pytest.raises(ConfigError, match=said):
        load_config(overrides=[setting])


def test_files_and_tasks_that_cannot_be(tmp_path: Path):
    for name in (tmp_path / "none.wav", tmp_path):
        with pytest.raises(ConfigError, match=r"'data\.augment\.noise\.files'"):
            load_augmenter(load_config(overrides=[f"data.augment.noise={{files: {name}}}"]), RATE)
    with pytest.raises(ConfigError, match="task text hears none"):
        load_augmenter(recipe("task=text"), 0)
    (tmp_path / "text.wav").write_text("no noise")
    with pytest.raises(AudioError, match=r"text\.wav"):
        augmented({"noise": {"files": [str(tmp_path / "text.wav")]}}, speech())


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> CTC:
    model, processor = tiny_ctc.wav2vec2_layer(tmp_path_factory.mktemp("ctc"))
    return CTC(audible(model), processor)


def groups_of(policy: CTC, prompts: list[Prompt]) -> list[Group]:
    uniforms = np.concatenate([uniforms_for(0, 0, prompt.id, range(2), 8) for prompt in prompts])
    with torch.no_grad():
        rows = policy.sample(policy.encode(prompts), 2, Sampling(1.0, 8), uniforms)
    return [
        Group(Example(p.id, "asr", None, ""), p, row, [policy.render(one) for one in row])
        for p, row in zip(prompts, rows, strict=True)
    ]


@pytest.mark.parametrize("hears", ["teacher", "reference"])
def test_a_teacher_and_the_reference_score_what_was_recorded(model: CTC, hears: str):
    clean = [Prompt(f"p{i}", speech(0.4, i), RATE) for i in range(2)]
    noisy = [
        Prompt(one.id, augmented({"noise": {"snr_db": [0, 0]}}, speech(0.4, i)), RATE, clean=one.waveform)
        for i, one in enumerate(clean)
    ]
    groups = groups_of(model, noisy)
    batch = make_batch(groups, torch.device("cpu"))

    def scores(prompts: list[Prompt]) -> torch.Tensor:
        heard = replace(batch, prompts=prompts)
        if hears == "reference":
            return rollout_logprobs(model, heard.unaugmented(), 1.0, 1 << 20)
        judgment = TextTeacher("itself", model, model, 1.0, 1 << 20).judge(groups, heard, True)
        assert judgment.logprobs is not None
        return judgment.logprobs

    torch.testing.assert_close(scores(noisy), scores(clean))
    without_clean = [replace(prompt, clean=None) for prompt in noisy]
    assert not torch.allclose(scores(noisy), scores(without_clean), atol=1e-3)
