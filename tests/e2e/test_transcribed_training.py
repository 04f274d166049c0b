"""Training on audio that nobody transcribed: from a teacher's pseudo-labels, or from its distributions over tokens."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from antiphon.config import load_config
from antiphon.errors import DataError, RunError
from antiphon.run.resume import resumed_config
from antiphon.run.train import train

TD = ["algorithm=sft", "rollout.group_size=1", "labels.model=builtin:teacher", "eval.before=false", "eval.after=false"]


@pytest.fixture(scope="module")
def untranscribed(speech) -> Path:
    """The eight clips of `train.jsonl`, without texts."""
    rows = [json.loads(line) for line in (speech / "train.jsonl").read_text().splitlines()]
    path = speech / "untranscribed.jsonl"
    path.write_text("".join(json.dumps({"id": row["id"], "audio": row["audio"]}) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def whole(recipe, untranscribed, tmp_path_factory):
    """Four steps of SFT on what the teacher heard."""
    output = tmp_path_factory.mktemp("td") / "runs"
    overrides = [f"data.train={untranscribed}", f"output={output}", "train.steps=4", "name=td"]
    return train(load_config(None, [*recipe, *TD, *overrides])).run


def test_the_student_learns_the_teachers_words_and_its_own_way_to_say_them(whole):
    heard = {row["id"]: row for row in whole.transcripts()}
    assert len(heard) == 8
    assert all(0 < row["confidence"] <= 1 and row["language"] == "English" for row in heard.values())
    rows = pq.read_table(whole.path / "rollouts" / "step-000001.parquet").to_pylist()
    assert all(row["reference"] == row["text"] == heard[row["example_id"]]["text"] for row in rows)
    losses = [row["nll"] for row in whole.metrics()]
    assert losses[-1] < losses[0]


def test_a_run_stopped_half_way_ends_the_same_without_a_second_transcription(
    whole, recipe, untranscribed, tmp_path, monkeypatch
):
    overrides = [f"data.train={untranscribed}", f"output={tmp_path}/runs", "train.steps=4", "name=td"]
    half = train(load_config(None, [*recipe, *TD, *overrides])).run
    kept = (half.path / "transcripts.jsonl").read_bytes()
    monkeypatch.setattr("antiphon.run.components.make_pseudo_labels", None)
    flags = {"output": f"{tmp_path}/runs"}
    resumed = train(resumed_config(f"{half.id}@2", flags, []), resume=f"{half.id}@2").run
    assert (resumed.path / "transcripts.jsonl").read_bytes() == kept
    for name in ("metrics.jsonl", "transcripts.jsonl", "checkpoints/step-000004/model.safetensors"):
        assert (resumed.path / name).read_bytes() == (whole.path / name).read_bytes(), name
    with pytest.raises(RunError, match="start a new run to learn from other texts"):
        resumed_config(half.id, flags, ["labels.min_confidence=0.9"])


def test_transcripts_that_are_not_confident_are_left_out_and_logged(small, untranscribed, whole):
    limit = sorted(row["confidence"] for row in whole.transcripts())[4]
    config = small(*TD, f"data.train={untranscribed}", "train.steps=1", f"labels.min_confidence={limit}")
    run = train(config).run
    assert "4 fell below labels.min_confidence" in (run.path / "log.txt").read_text()
    assert len(run.transcripts()) == 8, "what was left out can be seen too"


def test_a_teachers_words_serve_rewards_as_references(small, untranscribed):
    run = train(small(f"data.train={untranscribed}", "train.steps=1", "labels.model=builtin:teacher")).run
    assert "reward_mean" in run.metrics()[0]


def test_distillation_needs_no_text(small, untranscribed):
    config = small(
        f"data.train={untranscribed}", "train.steps=1", "algorithm=opd", "teacher=builtin:teacher", "eval.before=false"
    )
    assert train(config).run.metrics()[0]["loss"] > 0


@pytest.mark.parametrize("algorithm", ["sft", "grpo"])
def test_what_learns_from_texts_says_which_rows_have_none(small, untranscribed, algorithm):
    config = small(f"data.train={untranscribed}", f"algorithm={algorithm}")
    with pytest.raises(DataError, match=r'line 1 .*the row has no "text"'):
        train(config)
