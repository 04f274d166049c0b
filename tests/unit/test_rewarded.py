"""Rewards of an evaluation: means, intervals, the best of several, failures, and generators left alone."""

import random

import numpy as np
import torch

from antiphon.config.rollout import RewardLimits
from antiphon.evaluate.groups import grouped
from antiphon.evaluate.guard import look
from antiphon.evaluate.rewarded import earned, reward_figures
from antiphon.rewards.load import load_reward
from antiphon.rewards.sample import Sample
from antiphon.runs.best import best_step, evaluations_since_best
from antiphon.tasks.load import find_task
from antiphon.tasks.summary import interval, main_column

DROP = RewardLimits(on_failure="drop")


def length(sample):
    if sample.response == "bad":
        raise ValueError("cannot judge this")
    return len(sample.response)


def answers(*rows):
    return [[Sample(str(i), "", text, "") for text in row] for i, row in enumerate(rows)]


def rows(*columns):
    return [row | {"id": str(i), "speaker": None} for i, row in enumerate(columns)]


def test_a_row_has_the_mean_of_its_answers_and_the_best_of_several():
    reward = load_reward(length, DROP)
    assert earned(reward, answers(["abc"], ["a"])) == [
        {"reward": 3.0, "reward_failed": 0},
        {"reward": 1.0, "reward_failed": 0},
    ]
    several = earned(reward, answers(["a", "abc"], ["abcd", "abcdef"]))
    assert [row["reward"] for row in several] == [2.0, 5.0]
    figures = reward_figures(rows(*several))
    assert (figures["reward"], figures["reward_best"], figures["reward_failed"]) == (3.5, 4.5, 0)
    assert figures["reward_ci"] == [2.0, 5.0]
    assert figures["reward_best_ci"] == [3.0, 6.0]


def test_failures_are_counted_and_told_once_and_count_in_no_mean():
    notes = []
    columns = earned(load_reward(length, DROP), answers(["abc", "bad"], ["bad", "bad"]), notes.append)
    assert columns[0] == {"reward": 3.0, "reward_best": 3.0, "reward_failed": 1}
    assert columns[1] == {"reward": None, "reward_best": None, "reward_failed": 2}
    (note,) = notes
    assert note.startswith("the reward failed for 3 of 4 answers. The first: reward ")
    assert "cannot judge this" in note
    figures = reward_figures(rows(*columns))
    assert (figures["reward"], figures["reward_ci"], figures["reward_failed"]) == (3.0, None, 3)
    assert reward_figures(rows(columns[1]))["reward"] is None, "nothing was scored"


def test_a_batch_reward_that_applies_to_no_sample_ends_nothing():
    def nothing(completions):
        return [None] * len(completions)

    assert earned(load_reward(nothing, DROP), answers(["a"])) == [{"reward": None, "reward_failed": 1}]


def test_rewards_that_draw_do_not_change_the_draws_of_training():
    def draws(sample):
        return random.random() + np.random.rand() + torch.rand(()).item()

    def next_draws():
        return random.random(), np.random.rand(), torch.rand(()).item()

    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(3)
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    expected = next_draws()
    random.setstate(states[0])
    np.random.set_state(states[1])
    torch.set_rng_state(states[2])
    earned(load_reward(draws, DROP), answers(["a"], ["b"]))
    assert next_draws() == expected


def test_open_answers_are_judged_by_their_reward_alone():
    text = find_task("text")
    assert [text.measured_by(name) for name in (None, "exact", "mine.py:judge")] == ["accuracy", "accuracy", "reward"]
    assert find_task("asr").measured_by("omni + format") == "wer"
    values = {0: -1.0, 5: 0.2, 10: 0.7, 15: 0.1}
    summaries = [
        {"set": "dev", "step": step, "accuracy": 0.0, "reward": value, "reward_ci": [0, 1], "measure": "reward"}
        for step, value in values.items()
    ]
    column = main_column(*summaries)
    assert (column.key, column.lower_is_better, interval(summaries[0], column)) == ("reward", False, [0, 1])
    assert (best_step(summaries), evaluations_since_best(summaries)) == (10, 1)


def test_groups_have_their_rewards():
    task = find_task("text")
    row = {"ref_clean": "a", "pred_clean": "b", "wer_errors": 1, "cer_errors": 1, "ref_words": 1, "ref_chars": 1}
    row |= {"seconds": 0.0, "speaker": None, "truncated": False, "reward_failed": 0}
    measured = [row | {"id": name, "reward": value} for name, value in (("a", 1.0), ("b", 3.0), ("c", 5.0))]
    summary, _ = grouped(task, {"measure": "reward"}, measured, {"a": "x", "b": "x", "c": "y"})
    assert {name: one["reward"] for name, one in summary["groups"].items()} == {"x": 2.0, "y": 5.0}
    assert main_column(*summary["groups"].values()).key == "reward"


def test_the_guard_sees_a_loss_of_reward_where_exact_match_stays_0():
    def evaluated(shift):
        same = {"speaker": None, "wer_errors": 1, "ref_words": 1}
        return {"dev": [same | {"id": str(i), "reward": i + shift} for i in range(40)]}

    settings = {"alpha": 0.05, "looks": 1, "min_utterances": 10}
    (lost,) = look(evaluated(0.0), evaluated(-0.5), **settings, by_reward=True).worse
    assert str(lost).startswith("dev: reward 19.500 to 19.000 (p ")
    assert not look(evaluated(0.0), evaluated(0.5), **settings, by_reward=True).worse
    assert not look(evaluated(0.0), evaluated(-0.5), **settings).worse
