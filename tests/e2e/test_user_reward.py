"""Rewards written by the user, trained with from end to end."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from antiphon.errors import RewardError
from antiphon.run.train import train
from antiphon.runs import RunFolder

REWARDS = """
import asyncio
import time

from antiphon.types import Reward


def few_words(sample):
    return -abs(len(sample.response.split()) - len(sample.label.split()))


async def few_words_later(sample):
    await asyncio.sleep(0.001)
    return few_words(sample)


def with_parts(sample):
    words = len(sample.response.split())
    return Reward(words / 10, {"words": float(words)})


def in_batches(prompts, completions, completion_ids, reference, room, **columns):
    assert len(prompts) == len(completions) == len(completion_ids) == len(columns["id"]) == 16
    return [
        len(ids) + (100 if place == "r0" else 0) + (10 if answer == said else 0)
        for ids, answer, said, place in zip(completion_ids, completions, reference, room)
    ]


async def in_batches_later(completions, **columns):
    await asyncio.sleep(0.001)
    return [float(len(one)) for one in completions]


def fails_on_the_third(sample):
    if sample.index == 3:
        return 1 / (len(sample.response) * 0)
    return 0.0


def not_finite(sample):
    return float("nan")


def too_few(completions, **columns):
    return [0.0]


def flat(sample):
    return 0.5


def asleep_at_the_third(sample):
    if sample.index == 2:
        time.sleep(1)
    return len(sample.response.split())


def huge(sample):
    return 1e39 if sample.index else 0.0


async def not_the_third(sample):
    if sample.index == 2:
        await asyncio.sleep(60)
    return len(sample.response.split())
"""


def expected(form: str, row: dict) -> float:
    """What the function of that name above gives a row of the rollouts."""
    words = len(row["text"].split())
    room = json.loads(row["columns"])["room"]
    hit = row["text"] == row["reference"]
    return {
        "few_words": -abs(words - len(row["reference"].split())),
        "few_words_later": -abs(words - len(row["reference"].split())),
        "with_parts": words / 10,
        "in_batches": len(row["token_ids"]) + 100 * (room == "r0") + 10 * hit,
        "in_batches_later": len(row["text"]),
    }[form]


@pytest.fixture(scope="module")
def rewards(tmp_path_factory) -> Path:
    file = tmp_path_factory.mktemp("rewards") / "mine.py"
    file.write_text(REWARDS)
    return file


QUICK = ("train.steps=2", "eval.before=false", "eval.after=false")


@pytest.mark.parametrize("form", ["few_words", "few_words_later", "with_parts", "in_batches", "in_batches_later"])
def test_each_form_of_a_users_reward_trains(small, rewards, form):
    result = train(small(f"reward={rewards}:{form}", *QUICK))
    seen = set()
    for file in sorted((result.run.path / "rollouts").iterdir()):
        for row in pq.read_table(file).to_pylist():
            assert row["reward"] == pytest.approx(expected(form, row))
            seen.add(row["reward"])
            if form == "with_parts":
                assert row["reward_words"] == len(row["text"].split())
    assert len(seen) > 1, "the reward tells answers apart"
    if form == "with_parts":
        assert result.run.metrics()[0]["reward/words"] > 0


def test_a_users_reward_adds_to_a_built_in_one(small, rewards):
    result = train(small(f"reward=[wer, {{name: '{rewards}:few_words', weight: 0.5}}]", *QUICK, "train.steps=1"))
    for row in pq.read_table(result.run.path / "rollouts" / "step-000001.parquet").to_pylist():
        assert row["reward_few_words"] == expected("few_words", row)
        assert row["reward"] == pytest.approx(row["reward_wer"] + 0.5 * row["reward_few_words"])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "fails_on_the_third",
            r"failed on sample 'digits-\S+' \(completion 3\): ZeroDivisionError: .* \[mine.py, ",
        ),
        (
            "not_finite",
            r"returned a value of nan for sample 'digits-\S+' \(completion 0\); every number must be",
        ),
        ("huge", r"reward '\S+:huge' returned a value of 1e\+39 for sample 'digits-\S+' \(completion 1\), beyond"),
        ("too_few", r"returned a list of length 1 for a batch of 16, 'digits-\S+' \(completion 0\) to 'digits-"),
    ],
)
def test_a_failing_reward_stops_the_run_and_names_the_sample(small, rewards, name, message):
    config = small(f"reward={rewards}:{name}", *QUICK)
    with pytest.raises(RewardError, match=message):
        train(config)
    (run,) = map(RunFolder, Path(config.output).iterdir())
    assert run.status.state == "failed"
    assert run.status.error
    assert name in run.status.error
    assert name in (run.path / "log.txt").read_text()


def test_a_run_says_at_its_end_what_went_wrong(small, rewards, cli):
    """Nothing learned, answers cut, rewards that failed: in its folder, its result, its log and the list of runs."""
    flat = train(
        small(f"reward={rewards}:flat", *QUICK, "train.steps=3", "rollout.max_new_tokens=3", "gate.enabled=false")
    )
    assert [one["kind"] for one in flat.run.problems()] == ["nothing_learned", "truncated"]
    assert flat.problems == flat.to_dict()["problems"] == [one["message"] for one in flat.run.problems()]
    log = (flat.run.path / "log.txt").read_text()
    assert "step 3: nothing was learned so far" in log
    assert "cut at rollout.max_new_tokens=3" in log
    (listed,) = cli("runs", "--output", flat.run.path.parent, "--json").json["runs"]
    assert listed["problems"] == flat.problems


def test_a_plain_reward_that_sleeps_does_not_hold_up_the_run(small, rewards):
    limits = ("reward_limits.timeout_s=0.2", "reward_limits.on_failure=drop")
    result = train(small(f"reward={rewards}:asleep_at_the_third", *limits, *QUICK, "train.steps=1"))
    assert result.run.metrics()[0]["reward_dropped"] == 4, "one of each prompt"
    assert any("4 of 16 completions had no reward" in one for one in result.problems)


def test_a_run_goes_on_without_what_is_dropped(small, rewards):
    limits = "reward_limits={timeout_s: 0.1, on_failure: drop}"
    run = train(small(f"reward=[wer, {rewards}:not_the_third]", limits, *QUICK)).run
    assert [row["reward_dropped"] for row in run.metrics()] == [4, 4]
    assert all(row["grad_norm"] > 0 for row in run.metrics())
    rows = pq.read_table(run.path / "rollouts" / "step-000001.parquet").to_pylist()
    for row in rows:
        assert (row["reward"] is None) == (row["reward_wer"] is None) == (row["sample"] == 2)
        assert row["sample"] != 2 or not any(row["advantages"])
    groups = [
        [row["advantages"][0] for row in rows if row["example_id"] == one] for one in {r["example_id"] for r in rows}
    ]
    assert all(sum(advantages) == pytest.approx(0, abs=1e-6) for advantages in groups)
    dropped = [
        line for line in (run.path / "log.txt").read_text().splitlines() if "(completion 2): TimeoutError" in line
    ]
    assert len(dropped) == 8


def test_train_takes_functions_themselves(small):
    async def later(sample):
        return len(sample.response)

    result = train(small(*QUICK, "train.steps=1"), reward=["wer", {"name": later, "weight": 0.1}])
    (row,) = result.run.metrics()
    assert row["reward_mean"] == pytest.approx(row["reward/wer"] + 0.1 * row["reward/later"])
    assert result.run.config.reward == ["wer", {"name": f"{__name__}:{later.__qualname__}", "weight": 0.1}]


def test_a_failing_reward_is_one_line_for_the_user(cli, recipe, rewards, tmp_path):
    refused = cli("train", *recipe, *QUICK, f"reward={rewards}:fails_on_the_third", f"output={tmp_path}/runs", "--json")
    assert refused.status == 2
    assert refused.out == ""
    assert "error: reward" in refused.err
    assert "(completion 3): ZeroDivisionError" in refused.err
    assert "make it handle this, or let reward_limits retry it or drop the sample" in refused.err
    assert "Traceback" not in refused.err
