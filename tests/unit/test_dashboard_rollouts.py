"""What the dashboard reads of rollouts, and shows of a group's completions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from dashboard_runs import WRONG, make_run, spoilt, well_formed

from antiphon.dashboard import group, tokens
from antiphon.dashboard.read import rollouts
from antiphon.errors import RunError
from antiphon.runs import RolloutRow, RunFolder

REFUSED = {
    "null": set(),
    "numbers": {"example_id", "tokens", "reference"},
    "words": {"reward", "reward_wer", "tokens"},
    "lists": {"example_id", "reward", "logprobs"},
    "missing": {"example_id", "reward", "reference"},
}


@pytest.fixture
def run(tmp_path, monkeypatch) -> RunFolder:
    return make_run(tmp_path, monkeypatch)


def row(example: str, sample: int, reward: float | None, **changes) -> RolloutRow:
    fields = {
        "step": 1,
        "example_id": example,
        "sample": sample,
        "prompt": "",
        "reference": f"words of {example}",
        "text": "words <b>of",
        "token_ids": [1, 2, 3],
        "tokens": ["words", " <b>of", "<|im_end|>"],
        "logprobs": [-0.01, -3.0, -0.2],
        "reward": reward,
        "advantages": [0.5, -0.25, 0.0],
        "finish_reason": "stop",
        "audio": f"audio/{example}.flac",
        "reward_parts": {"wer": 0.5},
    }
    return RolloutRow(**(fields | changes))


def write_groups(run: RunFolder, step: int = 1) -> rollouts.StepOfRun:
    rows = [row("a", 0, -1.0), row("a", 1, 0.0), row("b", 0, -0.5), row("b", 1, -0.5, finish_reason="length")]
    rows += [row("c", 0, None), row("c", 1, -0.1), row("c", 0, -0.2), row("c", 1, -0.2)]
    run.write_rollouts(step, rows)
    return rollouts.read_step(run.path, step)


def test_a_step_is_read_as_groups_with_their_rewards(run):
    step = write_groups(run)
    assert step.example_id == ["a", "b", "c", "c"]  # The same example twice in a step is two groups.
    assert step.reference[0] == "words of a"
    np.testing.assert_allclose(step.best, [0.0, -0.5, -0.1, -0.2])
    np.testing.assert_allclose(step.worst, [-1.0, -0.5, -0.1, -0.2])
    np.testing.assert_allclose(step.mean, [-0.5, -0.5, -0.1, -0.2])
    np.testing.assert_allclose(step.std, [0.5, 0.0, 0.0, 0.0])
    assert step.failed.tolist() == [0, 0, 1, 0]
    assert step.truncated.tolist() == [0, 1, 0, 0]
    assert step.zero_variance.tolist() == [False, True, True, True]


def test_audio_without_a_copy_is_not_called_empty(run):
    run.write_rollouts(1, [row("a", n, 0.5, text="", tokens=[], width=3, token_ids=[1, 2, n]) for n in (0, 1)])
    shown = group.samples(run.id, 1, rollouts.read_group(rollouts.read_step(run.path, 1), 0), "probability")
    assert well_formed(shown).text.count("no copy was kept") == 2


def test_groups_are_filtered_and_sorted(run):
    step = write_groups(run)

    def chosen(only="", search="", by=""):
        return rollouts.ordered(step, rollouts.matching(step, only, search), by).tolist()

    assert chosen() == [0, 1, 2, 3]
    assert chosen("failed") == [2]
    assert chosen("truncated") == [1]
    assert chosen("zero_variance") == [1, 2, 3]
    assert chosen(search="Words OF b") == [1]
    assert chosen(search="nothing") == []
    assert chosen(by="best") == [2, 3, 0, 1]
    assert chosen(by="worst") == [0, 1, 3, 2]
    assert chosen("zero_variance", by="std") == [1, 2, 3]


def test_groups_without_any_reward_come_last_and_are_not_counted_as_zero_variance(run):
    run.write_rollouts(1, [row("a", 0, None), row("b", 0, -1.0)])
    step = rollouts.read_step(run.path, 1)
    assert np.isnan(step.mean[0])
    assert step.failed.tolist() == [1, 0]
    assert not step.zero_variance[0]
    assert rollouts.ordered(step, [0, 1], "worst").tolist() == [1, 0]
    run.write_rollouts(2, [row("a", 0, None, reward_parts={})])
    assert rollouts.read_step(run.path, 2).failed.tolist() == [0]  # An algorithm without rewards fails at none.


def test_a_group_is_read_from_its_own_row_groups_alone(run):
    run.write_rollouts(1, [row(f"u{number}", 0, 0.0) for number in range(10)])
    path = run.path / "rollouts" / "step-000001.parquet"
    pq.write_table(pq.read_table(path), path, row_group_size=3)
    assert [one["example_id"] for one in rollouts.read_rows(path, 2, 5)] == ["u2", "u3", "u4"]
    assert rollouts.read_group(rollouts.read_step(run.path, 1), 9).example_id == "u9"
    with pytest.raises(RunError, match="has 10 rows, and none of number 10"):
        rollouts.read_rows(path, 10, 11)


@pytest.mark.parametrize("content", [b"", b"PAR1 but not really", b"\x00" * 4096])
def test_a_damaged_step_is_named(run, content):
    write_groups(run, 1)
    (run.path / "rollouts" / "step-000002.parquet").write_bytes(content)
    assert rollouts.steps(run.path) == [1, 2]
    with pytest.raises(RunError, match=r"rollouts/step-000002\.parquet cannot be read"):
        rollouts.read_step(run.path, 2)
    assert len(rollouts.read_step(run.path, 1)) == 4


def test_rollouts_of_another_kind_are_named(run):
    folder = run.path / "rollouts"
    pq.write_table(pq.read_table(_written(run)).drop_columns(["reward"]), folder / "step-000003.parquet")
    with pytest.raises(RunError, match="it has no column 'reward'"):
        rollouts.read_step(run.path, 3)


def test_rollouts_from_before_tokens_were_recorded_are_read(run):
    path = _written(run)
    pq.write_table(pq.read_table(path).drop_columns(["tokens"]), path)
    found = rollouts.read_group(rollouts.read_step(run.path, 1), 0)
    assert found.samples[0].tokens == []
    assert found.samples[0].token_count == 3
    assert well_formed(group.samples(run.id, 1, found, "probability"))


@pytest.mark.parametrize("wrong", WRONG)
def test_columns_of_another_kind_are_shown_or_named(run, wrong):
    """A page is made of what a file holds, or says that it cannot be: nothing else is raised."""
    refused = set()
    path = _written(run)
    for name, table in spoilt(path, wrong):
        pq.write_table(table, path)
        try:
            step = rollouts.read_step(run.path, 1)
            found = rollouts.read_group(step, 0)
            rollouts.ordered(step, rollouts.matching(step, "failed", "x"), "worst")
            group.listed(step, range(len(step)), 0, ["?"] * len(step))
            group.heading(run.id, 1, found)
            group.samples(run.id, 1, found, "advantage")
            group.samples(run.id, 1, found, "probability")
        except RunError:
            refused.add(name)
    assert REFUSED[wrong] <= refused


def test_a_group_is_shown_with_its_words_escaped(run):
    step = write_groups(run)
    found = rollouts.read_group(step, 0)
    shown = well_formed(group.samples(run.id, 1, found, "advantage"))
    assert "<b>of" in shown.text
    assert shown.text.index("0.000") < shown.text.index("−1.000")  # The best first.
    assert well_formed(group.listed(step, [0, 1, 2, 3], 1, ["?a", "?b", "?c", "?d"])).seen.count("a") == 4
    assert "clip-player" in well_formed(group.heading(run.id, 1, found)).seen


def test_samples_that_are_the_same_are_shown_once(run):
    run.write_rollouts(1, [row("a", number, -1.0) for number in range(3)] + [row("a", 3, -1.0, text="other")])
    found = rollouts.read_group(rollouts.read_step(run.path, 1), 0)
    shown = group.samples(run.id, 1, found, "advantage")
    assert shown.count("<article") == 2
    assert "samples 0, 1, 2" in shown


def test_tokens_are_colored_by_advantage_or_by_probability(run):
    write_groups(run)
    sample = rollouts.read_group(rollouts.read_step(run.path, 1), 0).samples[0]
    assert tokens.by_token([sample])
    assert not tokens.by_token([replace(sample, advantages=[0.5, 0.5, 0.5])])
    assert tokens.reach([sample]) == 0.5
    by_advantage = tokens.strip(sample, "advantage", 0.5)
    assert [shade in by_advantage for shade in ('"p4"', '"m2"', '"z marker"')] == [True, True, True]
    by_probability = tokens.strip(sample, "probability", 0.5)
    assert [shade in by_probability for shade in ('"u0"', '"u4"', '"u1 marker"')] == [True, True, True]
    assert well_formed(tokens.legend("advantage", 0.5)).text.startswith("−0.5")


def test_a_long_completion_is_not_shown_to_its_end(run):
    write_groups(run)
    sample = rollouts.read_group(rollouts.read_step(run.path, 1), 0).samples[0]
    many = tokens.MOST + 7
    shown = tokens.strip(replace(sample, tokens=["x"] * many, logprobs=[0.0] * many), "probability", 1.0)
    assert shown.count("<i ") == tokens.MOST
    assert "and 7 more tokens" in shown


def _written(run: RunFolder) -> Path:
    write_groups(run)
    return run.path / "rollouts" / "step-000001.parquet"
