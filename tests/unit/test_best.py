"""Which step was best, and how long ago."""

import pytest

from antiphon.errors import ConfigError
from antiphon.runs.best import best_step, evaluations_since_best, mean_by_step, require_measure


def summaries(**values):
    """`dev=[0.5, 0.4]` are the WERs of dev after steps 0 and 10."""
    return [
        {"set": name, "step": 10 * i, "wer": wer, "cer": 1 - (wer or 0), "accuracy": wer}
        for name, wers in values.items()
        for i, wer in enumerate(wers)
    ]


def test_the_best_step_has_the_lowest_mean_and_is_the_earliest_of_equals():
    assert best_step(summaries(dev=[0.5, 0.4, 0.2, 0.2, 0.3])) == 20
    assert best_step(summaries(dev=[0.5, 0.1, 0.2], test=[0.5, 0.9, 0.2])) == 20


def test_the_model_before_training_is_no_candidate():
    assert best_step(summaries(dev=[0.1, 0.4, 0.3])) == 20
    assert best_step(summaries(dev=[0.1])) is None
    assert best_step([]) is None


def test_one_set_and_one_measure_can_be_named():
    both = summaries(dev=[0.5, 0.1, 0.2], test=[0.5, 0.9, 0.2])
    assert best_step(both, "dev/wer") == 10
    assert best_step(both, "dev/cer") == 20
    assert best_step(both, "dev/accuracy") == 20, "more is better"


def test_accuracy_counts_where_nothing_has_a_wer():
    labels = [{"set": "dev", "step": step, "accuracy": value} for step, value in ((0, 0.2), (5, 0.6), (10, 0.4))]
    assert best_step(labels) == 5


def test_sets_without_a_value_are_left_out():
    assert mean_by_step(summaries(dev=[0.5, 0.4], silence=[None, None])) == {0: 0.5, 10: 0.4}


def test_patience_counts_from_the_best_and_from_before_training():
    assert evaluations_since_best(summaries(dev=[0.5, 0.4, 0.45, 0.4])) == 2
    assert evaluations_since_best(summaries(dev=[0.1, 0.4, 0.3])) == 2
    assert evaluations_since_best(summaries(dev=[0.5, 0.4])) == 0
    assert evaluations_since_best([]) == 0


@pytest.mark.parametrize("measure", ["dev/wr", "dve/wer", "nothing"])
def test_a_measure_that_nothing_has_is_refused(measure):
    with pytest.raises(ConfigError, match=rf"'eval.best' is '{measure}'.* of the sets dev and the measures accuracy, "):
        require_measure(summaries(dev=[0.5]), measure)
