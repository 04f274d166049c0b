"""A task from a file outside the package whose answer is audio: trained, saved, measured, shown and compared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
import torch
from conftest import Cli, write_rows
from doc_blocks import ROOT, blocks
from frames import FramePolicy

from antiphon.config import Config, load_config
from antiphon.dashboard import group, utterances
from antiphon.dashboard.audio import locate, playable, waveform
from antiphon.dashboard.read import evaluations, rollouts
from antiphon.evaluate.decode import decoder
from antiphon.evaluate.normalizers import load_normalizer
from antiphon.evaluate.sets import evaluate_sets
from antiphon.evaluate.subject import LocalModel
from antiphon.rollout.engines.in_process import InProcessEngine
from antiphon.run.observers import Observer
from antiphon.run.trackers.figures import eval_samples, step_samples
from antiphon.run.train import TrainResult, train
from antiphon.types import Audio, Completion, Prompt

RATE = 8000
FRAME = 400
"""Samples of one tone."""


class TonePolicy(FramePolicy):
    """Each frame is a tone; its first id says how high."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__(seed=seed)
        self.model.dtype = torch.float32

    def render(self, completion: Completion, prompt: Prompt | None = None) -> Audio:
        notes = np.array(completion.token_ids[:: self.codebooks])
        times = np.arange(FRAME) / RATE
        return Audio(np.sin(2 * np.pi * 100 * 2 ** (notes[:, None] / 4) * times).ravel().astype(np.float32), RATE)


class Steps(Observer):
    """Keeps what trackers would send."""

    def __init__(self) -> None:
        self.samples: list[Any] = []

    def stepped(self, step):
        self.samples += step_samples(step, 1)


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A working folder with the file of docs/extend/task.md and voices of four heights."""
    folder = tmp_path_factory.mktemp("tones")
    text = next(one.text for one in blocks(ROOT / "docs" / "extend" / "task.md") if one.title == "tone.py")
    (folder / "tone.py").write_text(text)
    rows = []
    for hz in (120, 160, 220, 300):
        hum = 0.3 * hz / 300 * np.sin(2 * np.pi * hz * np.arange(RATE) / RATE)
        soundfile.write(folder / f"{hz}.wav", hum, RATE)
        rows.append({"id": f"hum-{hz}", "audio": f"{hz}.wav", "text": "", "hz": hz})
    write_rows(folder / "hums.jsonl", rows)
    return folder


def recipe(output: Path = Path("runs")) -> Config:
    settings = {"train": ["hums.jsonl"], "eval": ["hums.jsonl"]}
    flags = {f"data.{name}": value for name, value in settings.items()} | {
        "task": "tone.py:Tone",
        "reward": "tone.py:close",
        "rollout.max_new_tokens": 4,
        "rollout.prompts_per_step": 2,
        "rollout.group_size": 4,
        "train.steps": 3,
        "train.audio_copies": 12,
        "train.log_rollouts_every": 1,
        "eval.every": 3,
        "device": "cpu",
        "output": str(output),
    }
    return load_config(flags=flags)


@pytest.fixture(scope="module")
def trained(place) -> tuple[TrainResult, Steps]:
    steps = Steps()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setattr("antiphon.run.components.load_policy", lambda *args, **settings: TonePolicy())
        return train(recipe(place / "runs"), observers=[steps]), steps


def test_three_steps_are_trained_on_what_the_reward_hears(trained):
    run = trained[0].run
    assert [row["step"] for row in run.metrics()] == [1, 2, 3]
    rows = pq.read_table(run.path / "rollouts" / "step-000003.parquet").to_pylist()
    for row in rows:
        heard, rate = soundfile.read(run.path / row["answer_audio"], dtype="float32")
        pitch = (1 + np.abs(np.fft.rfft(heard))[1:].argmax()) * rate / len(heard)
        assert row["reward"] == pytest.approx(-abs(np.log2(pitch / json.loads(row["columns"])["hz"])), abs=1e-6)
    assert len({row["answer_audio"] for row in rows}) == len(rows) == 8


def test_the_newest_copies_of_answers_are_kept(trained):
    run = trained[0].run
    kept = [path.name[:11] for path in sorted((run.path / "audio" / "answers").iterdir())]
    assert kept == ["step-000002"] * 4 + ["step-000003"] * 8


def test_evaluation_measures_it_by_the_columns_of_the_task(trained, place):
    result = trained[0]
    summary, rows = result.after["hums"], result.run.eval_rows("hums", 3)
    assert summary["octaves_off"] == pytest.approx(np.mean([row["errors"] for row in rows]))
    assert summary["ci"][0] <= summary["octaves_off"] <= summary["ci"][1]
    assert summary["columns"][0]["title"] == "octaves off"
    assert all((result.run.path / row["answer_audio"]).is_file() for row in rows)
    assert any(result.run.plots.iterdir())


def test_trackers_get_its_sound(trained):
    result, steps = trained
    assert len(steps.samples) == 3
    assert all(one.audio.rate == RATE for one in steps.samples)
    sent = eval_samples(result.run.eval_rows("hums", 3), result.run.path, 4)
    assert {one.audio.rate for one in sent} == {RATE}


def test_the_dashboard_plays_it(trained):
    run = trained[0].run
    step = rollouts.read_step(run.path, 3)
    found = rollouts.read_group(step, 1)
    shown = group.samples(run.id, 3, found, "probability")
    for place, one in enumerate(found.samples):
        assert waveform(locate(run.path, run.path, one.answer_audio))["peaks"]
        assert f"clip/rollout-answers/3/{found.row + place}" in shown
    evaluated = next(one for one in evaluations.list_evaluations(run.path)[0] if one.step == 3)
    row = evaluations.read_rows(run.path, evaluated.folder)[0]
    assert playable(locate(run.path, run.path, row["answer_audio"])).suffix == ".flac"
    assert "clip/eval-answers/" in utterances.recognized(run.id, evaluated.folder, row)
    assert utterances.figures(evaluated)["Octaves off"].startswith(f"{row_mean(run, 3):.2f}")


def row_mean(run, step: int) -> float:
    return float(np.mean([row["errors"] for row in run.eval_rows("hums", step)]))


class Silent:
    """No progress is shown."""

    def phase(self, title, total=None): ...
    def advance(self, done): ...
    def noted(self, message): ...


def test_reports_play_it_and_are_compared(place, monkeypatch, cli: Cli):
    monkeypatch.chdir(place)
    for name, seed in (("a", 0), ("b", 3)):
        policy: Any = TonePolicy(seed)
        subject = LocalModel(name, policy, decoder(policy, InProcessEngine(policy), 4), 4, None, 4)
        rules = load_normalizer()
        evaluate_sets(subject, {"hums": "hums.jsonl"}, recipe(), rules, Silent(), output=Path(name))
    report = Path("a", "report.html").read_text()
    assert "octaves off" in report
    assert report.count("<audio") == 2 * report.count("<article")
    compared = cli("compare", "a", "b")
    assert compared.status == 0, compared.err
    assert "MAPSSWE aligns words, which the rows of hums do not have" in compared.out
    assert cli("compare", "a", "b", "--json").json["sets"][0]["mapsswe"] is None
