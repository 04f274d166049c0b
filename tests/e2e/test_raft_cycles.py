"""RAFT from the command line alone, on CTC and on an encoder-decoder: statistics and a checkpoint for each cycle."""

from __future__ import annotations

import pytest

from antiphon.runs import RunFolder


@pytest.mark.parametrize("model", ["wav2vec2", "whisper"])
def test_every_cycle_leaves_its_statistics_and_a_checkpoint(cli, speech, tmp_path, model):
    arguments = ("--model", f"builtin:{model}", "--data", speech / "train.jsonl", "--task", "asr", "--output", tmp_path)
    payload = cli("train", *arguments, "--algorithm", "raft", "--cycles", 2, "--device", "cpu", "--json").json
    assert payload["steps"] == 2
    run = RunFolder(tmp_path / payload["run"])
    assert [one.step for one in run.checkpoints.list()] == [1, 2]
    assert [one["step"] for one in run.metrics()] == [1, 2]
    for cycle in run.metrics():
        assert 0 <= cycle["reward_mean"] <= 1, "accuracy, not errors"
        assert 0 < cycle["learned_share"] <= 1 / 4, "at most the best of four candidates"
        assert cycle["nll"] > 0
    first, second = (one["lr"] for one in run.metrics())
    assert second == pytest.approx(0.85 * first)
