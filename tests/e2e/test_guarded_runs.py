"""The guards in whole runs: a group that loses is caught, the best checkpoint is kept, and a run ends when told to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import soundfile
from conftest import write_rows

from antiphon.data.corpora.sets import builtin_set
from antiphon.errors import ConfigError
from antiphon.models.load import locate, pin
from antiphon.run.train import train

REWARD = """
def for_anna_alone(sample):
    said, wanted = sample.response.split(), sample.label.split()
    wrong = sum(a != b for a, b in zip(said, wanted)) + abs(len(said) - len(wanted))
    rate = min(wrong / len(wanted), 1.0)
    return -rate if sample.speaker == "anna" else 0.3 * rate
"""
"""Fewer errors for one speaker, more for the other."""


@pytest.fixture(scope="module")
def two_speakers(tmp_path_factory) -> Path:
    """A folder with `mine.py` and `both.jsonl`: 36 reverberant clips of anna and 12 hurried ones of ben."""
    folder = tmp_path_factory.mktemp("two-speakers")
    (folder / "mine.py").write_text(REWARD)
    rows = []
    for speaker, set_name, size in (("anna", "digits-reverb", 36), ("ben", "digits-fast", 12)):
        for example in builtin_set(set_name)[:size]:
            assert example.clip is not None
            soundfile.write(folder / f"{example.id}.wav", example.clip.load(16000), 16000)
            rows.append({"id": example.id, "audio": f"{example.id}.wav", "text": example.text, "speaker": speaker})
    write_rows(folder / "both.jsonl", rows)
    return folder


def test_a_group_that_loses_stops_the_run_though_the_mean_improves(two_speakers, small, cli):
    overrides = [
        f"data.train={two_speakers}/both.jsonl",
        f"data.eval={two_speakers}/both.jsonl",
        f"reward={two_speakers}/mine.py:for_anna_alone",
        "eval={limit: 48, every: 18, group_by: speaker}",
        "guard.action=stop",
        "rollout={prompts_per_step: 12, group_size: 8, max_new_tokens: 16}",
        "optimizer={lr: 3e-4, warmup_steps: 4}",
        "train={steps: 36, save_every: -1}",
    ]
    result = train(small(*overrides))
    before, after = result.before["both"], result.after["both"]
    assert after["wer"] < before["wer"], "the mean improves"
    assert after["groups"]["ben"]["wer"] > before["groups"]["ben"]["wer"]
    assert result.stopped
    assert result.stopped.by == "guard"
    assert "both, ben: error rate " in result.stopped.reason
    assert "both, anna: error rate" not in result.stopped.reason
    assert result.steps == 18, "not the 36 that were planned"

    run = result.run
    assert (run.status.state, run.status.reason) == ("stopped", result.stopped.reason)
    assert run.checkpoints.latest().step == result.steps, "a checkpoint of where it stopped"
    assert run.guard()[-1]["step"] == result.steps
    judged = {one["group"]: one for one in run.guard()[-1]["comparisons"]}
    assert judged["ben"]["worse"]
    assert judged["ben"]["p_adjusted"] <= 0.05
    assert not judged[None]["worse"]
    assert {row["group"] for row in run.eval_rows("both", 0)} == {"anna", "ben"}
    assert result.stopped.reason in (run.path / "log.txt").read_text()

    (listed,) = cli("runs", "--output", run.path.parent, "--json").json["runs"]
    assert (listed["state"], listed["guard"], listed["reason"]) == ("stopped", 1, result.stopped.reason)


def test_the_best_checkpoint_survives_and_is_found(small):
    quick = ("train.steps=4", "eval.every=1", "train.save_every=-1", "train.keep_checkpoints=1")
    run = train(small(*quick, "eval.best=dev/rtfx")).run
    speeds = {one["step"]: one["rtfx"] for one in run.evals() if one["step"] > 0}
    best = max(speeds, key=lambda step: (speeds[step], -step))
    assert run.best_step() == best
    assert [one.step for one in run.checkpoints.list()] == sorted({best, 4})
    output = run.path.parent
    assert locate(f"{run.id}@best", output) == str(run.checkpoints.at(best).path)
    assert pin("latest@best", output) == f"{run.path}@{best}"


def test_a_run_that_does_not_improve_ends_when_patience_does(small, cli):
    config = small("optimizer.lr=1e-12", "train.steps=6", "eval.every=1", "eval.patience=2", "train.save_every=-1")
    result = train(config)
    assert result.steps == 2
    assert result.stopped.by == "patience"
    assert result.stopped.reason == "the mean WER has not improved in 2 evaluations (eval.patience)"
    assert [one.step for one in result.run.checkpoints.list()] == [1, 2]
    assert result.after["dev"]["wer"] == result.before["dev"]["wer"]
    assert result.to_dict()["stopped"] == {"by": "patience", "reason": result.stopped.reason}
    again = train(config, resume="auto").run
    assert again != result.run, "a stopped run is not taken up again"


def test_a_finished_run_goes_to_status_0_and_a_stopped_one_to_1(two_speakers, recipe, cli, tmp_path):
    quick = ("train.steps=1", f"output={tmp_path}/runs", "eval.limit=12")
    both = (f"data.eval={two_speakers}/both.jsonl", f"data.train={two_speakers}/both.jsonl")
    assert cli("train", *recipe, *both, *quick).status == 0
    ruined = cli("train", *recipe, *both, *quick, "optimizer.lr=0.05", "guard.action=stop", "--json")
    assert ruined.status == 1
    assert json.loads(ruined.out)["stopped"]["by"] == "guard"
    warned = cli("train", *recipe, *both, *quick, "optimizer.lr=0.05")
    assert warned.status == 0
    assert "1 of 1 groups significantly worse after 1 steps" in " ".join(warned.err.split())


def test_a_column_or_a_measure_that_is_not_there_is_refused(small):
    with pytest.raises(ConfigError, match="no row of dev has the column 'speaker' to group by; there are: room"):
        train(small("eval.group_by=speaker"))
    with pytest.raises(ConfigError, match=r"'eval\.best' is 'dev/wr', which no evaluation has"):
        train(small("eval.best=dev/wr"))
