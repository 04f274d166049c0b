"""The regression guard: whom it compares, how sure it must be, and how seldom it is wrong."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from measured import measured

from antiphon.config import load_config
from antiphon.errors import ConfigError
from antiphon.evaluate.bootstrap import holm, worsening_p
from antiphon.evaluate.groups import UNNAMED, by_group, group_names
from antiphon.evaluate.guard import look
from antiphon.evaluate.watch import planned_looks
from antiphon.tasks.load import find_task
from antiphon.types import Example


def rows(errors, groups=None, speakers=None, words=10):
    return [
        {
            "id": f"u{i}",
            "wer_errors": int(error),
            "ref_words": words,
            "speaker": speakers[i] if speakers else None,
            "group": groups[i] if groups else None,
        }
        for i, error in enumerate(errors)
    ]


def seen(before, after, **overrides):
    settings = {"alpha": 0.05, "looks": 1, "min_utterances": 10} | overrides
    return look({"dev": before}, {"dev": after}, **settings)


def test_the_randomization_is_that_of_every_exchange():
    growth = np.array([2, 1, 1, 0, -1, 3])
    signs = np.array(list(itertools.product([-1, 1], repeat=6)))
    exact = (signs @ growth >= growth.sum()).mean()
    assert float(worsening_p(growth, resamples=20_000)) == pytest.approx(exact, abs=0.01)


def test_the_bootstrap_counts_where_it_is_the_less_sure():
    growth = np.array([9, *[-1] * 8])  # a resample without the nine has not grown
    resamples = np.random.default_rng(1).integers(0, 9, size=(20_000, 9))
    not_grown = (growth[resamples].sum(axis=1) <= 0).mean()
    assert float(worsening_p(growth, resamples=20_000)) >= not_grown - 0.01


def test_columns_are_tested_one_by_one():
    growth = np.random.default_rng(0).integers(-2, 4, size=(30, 2, 3))
    together = worsening_p(growth)
    assert together.shape == (2, 3)
    assert together[1, 2] == worsening_p(growth[:, 1, 2])


def test_whole_speakers_are_exchanged_from_ten_on():
    growth = np.tile([1, 1, -1], 20)
    speakers = [f"s{i // 6}" for i in range(60)]
    sums = growth.reshape(10, 6).sum(axis=1)
    assert worsening_p(growth, speakers) == worsening_p(sums)
    assert worsening_p(growth, speakers) < worsening_p(growth)


def test_holm_worked_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([]).tolist() == []


def test_holm_keeps_the_family_at_alpha():
    draw = np.random.default_rng(0)
    false = np.mean([(holm(draw.uniform(size=8)) <= 0.05).any() for _ in range(4000)])
    assert 0.04 <= false <= 0.06


def test_a_group_that_loses_is_named_though_the_mean_improves():
    groups = ["anna"] * 20 + ["ben"] * 60
    before, after = [2] * 20 + [5] * 60, [5] * 20 + [1] * 60
    found = seen(rows(before, groups), rows(after, groups))
    (worse,) = found.worse
    assert (worse.set, worse.group, worse.n, worse.over) == ("dev", "anna", 20, "utterances")
    assert (worse.before, worse.after) == (0.2, 0.5)
    assert worse.p < worse.p_adjusted <= 0.05
    assert str(worse).startswith("dev, anna: error rate 20.0% to 50.0% (p ")
    assert [(one.group, one.worse) for one in found.comparisons] == [(None, False), ("anna", True), ("ben", False)]


def test_more_groups_and_more_looks_ask_for_more():
    before, after = [2] * 40, [2] * 30 + [3] * 8 + [1] * 2
    one = seen(rows(before), rows(after)).comparisons[0]
    later = seen(rows(before), rows(after), looks=6).comparisons[0]
    assert one.p_adjusted == one.p
    assert later.p_adjusted == pytest.approx(6 * later.p)
    assert one.worse
    assert not later.worse
    halves = ["a", "b"] * 20
    assert seen(rows(before, halves), rows(after, halves)).comparisons[0].p_adjusted == pytest.approx(
        3 * one.p, rel=0.3
    )


def test_many_groups_and_looks_do_not_put_an_alarm_out_of_reach():
    groups = [f"g{i // 20}" for i in range(400)]
    after = np.full(400, 2)
    after[:20] = 6
    found = seen(rows(np.full(400, 2), groups), rows(after, groups), looks=20)
    assert [one.group for one in found.worse] == [None, "g0"] or [one.group for one in found.worse] == ["g0", None]


def test_small_groups_and_silent_ones_are_left_out():
    groups = ["few"] * 3 + ["many"] * 20
    found = seen(rows([0] * 23, groups), rows([9] * 3 + [0] * 20, groups))
    assert found.too_small == ["dev/few"]
    assert [one.group for one in found.comparisons] == [None, "many"]
    silent = seen(rows([0] * 20, words=0), rows([3] * 20, words=0))
    assert (silent.comparisons, silent.too_small) == ([], ["dev"])


def test_only_what_was_measured_before_is_compared():
    before = {"dev": rows([1] * 20)}
    after = {"dev": rows([1] * 30), "new": rows([9] * 30)}
    (one,) = look(before, after, alpha=0.05, looks=1, min_utterances=10).comparisons
    assert (one.set, one.n) == ("dev", 20)


def test_false_alarms_of_whole_runs_stay_below_alpha():
    """300 runs of 4 groups of 20 and 3 looks in which nothing changes but chance."""
    draw = np.random.default_rng(0)
    chance = np.full((300, 4, 1, 20), 0.2)
    before = draw.binomial(8, chance)
    after = draw.binomial(8, np.broadcast_to(chance, (300, 4, 3, 20)))
    p = worsening_p(np.moveaxis(after - before, -1, 0).astype(float), resamples=4000)
    adjusted = np.apply_along_axis(holm, 1, p) * 3
    assert (adjusted <= 0.05).any(axis=(1, 2)).mean() <= 0.05


def example(id: str, **fields) -> Example:
    return Example(id, "asr", None, "one two", **fields)


def test_groups_are_speakers_languages_or_columns():
    examples = [
        example("a", speaker="anna", language="en", columns={"room": 4}),
        example("b", speaker="ben", language="en"),
    ]
    assert group_names(examples, "speaker", "dev") == {"a": "anna", "b": "ben"}
    assert group_names(examples, "language", "dev") == {"a": "en", "b": "en"}
    assert group_names(examples, "room", "dev") == {"a": "4", "b": UNNAMED}


def test_a_column_that_no_row_has_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match=r"has the column 'spaeker' to group by; did you mean 'speaker'\?"):
        group_names([example("a", speaker="anna")], "spaeker", "dev")
    with pytest.raises(ConfigError, match="there are: language"):
        group_names([example("a", language="en")], "zzz", "dev")


def test_each_group_has_the_measures_of_a_set():
    utterances = [measured(str(i), "one two", "one two" if i < 3 else "one") for i in range(5)]
    groups = by_group(find_task("asr"), utterances, {str(i): "ab"[i >= 3] for i in range(5)})
    assert list(groups) == ["a", "b"]
    assert [(one["wer"], one["n"], one["ref_words"]) for one in groups.values()] == [(0, 3, 6), (0.5, 2, 4)]


@pytest.mark.parametrize(
    ("overrides", "looks"),
    [
        (["eval.every=3"], 4),
        (["eval.every=3", "eval.after=false"], 3),
        (["eval.every=5"], 2),
        (["eval.every=20"], 1),
        ([], 1),
    ],
)
def test_planned_looks_are_the_evaluations_after_the_first_step(overrides, looks):
    assert planned_looks(load_config(None, ["train.steps=10", *overrides])) == looks


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["eval.patience=2", "data.eval=dev.jsonl"], r"needs evaluations during training: set 'eval\.every'"),
        (["guard.action=stop", "eval.before=false", "data.eval=dev.jsonl"], "with the one before training"),
        (["guard.action=stop"], "set 'data.eval'"),
    ],
)
def test_settings_that_cannot_work_are_refused(overrides, message):
    with pytest.raises(ConfigError, match=message):
        load_config(None, overrides)
