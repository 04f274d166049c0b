"""MAPSSWE: segments and the statistic worked by hand."""

import numpy as np
import pytest
from scipy import stats

from antiphon.evaluate.mapsswe import mapsswe, matched_pairs, segments

TRIP = ("we left the house at nine and drove to the sea", "we left a house at nine and drive to the sea")
TRIP_B = "we left the mouse at nine and drove the sea"
COUNT = ("one two three four five six", "one too three fore five six", "one two three four five six uh")
STOP = ("stop now", "stop now", "go")


def words(*texts: str) -> tuple[list[str], list[str], list[str]]:
    reference, a, b = (text.split() for text in texts)
    return reference, a, b


def test_segments_lie_between_words_that_both_have_right():
    # "the house" is wrong in both, once each; "at nine and" parts it from "drove to", again wrong once in each
    assert segments(*words(*TRIP, TRIP_B)) == [(1, 1), (1, 1)]


def test_one_good_word_parts_nothing_and_two_do():
    # a has two and four wrong, three between them alone; "five six" parts them from what b adds at the end
    assert segments(*words(*COUNT)) == [(2, 0), (0, 1)]


def test_the_ends_of_an_utterance_part_segments():
    assert segments(*words(*STOP)) == [(0, 2)]
    assert segments(*words("a b c d", "x b c d", "a b c y")) == [(1, 0), (0, 1)]
    assert segments(*words("a b c", "a b c", "a b c")) == []
    assert segments([], ["uh"], []) == [(1, 0)]


def test_a_word_put_between_good_ones_is_a_segment_and_joins_its_neighbors_errors():
    assert segments(*words("a b c d", "a b x c d", "a b c d")) == [(1, 0)]
    # b before and after the gap is good, but never two words in a row are without error
    assert segments(*words("a b c d", "x b y c d", "a b c z")) == [(2, 1)]


def test_the_statistic_by_hand():
    # differences b − a: 0, 0, −2, 1, 2. Mean 1/5; squares about it .04 + .04 + 4.84 + .64 + 3.24 = 8.8; variance 2.2
    result = mapsswe([words(*TRIP, TRIP_B), words(*COUNT), words(*STOP)])
    assert (result["segments"], result["mean"]) == (5, pytest.approx(0.2))
    assert result["statistic"] == pytest.approx(0.2 / (2.2 / 5) ** 0.5)
    assert result["p"] == pytest.approx(0.778, abs=5e-4)


def test_many_segments_follow_the_normal_distribution_of_the_paper():
    result = matched_pairs(np.random.default_rng(0).integers(-2, 4, size=5000))
    assert result["statistic"] is not None
    assert result["p"] == pytest.approx(2 * stats.norm.sf(abs(result["statistic"])), rel=0.05, abs=1e-12)


@pytest.mark.parametrize(
    ("differences", "p"), [([], 1.0), ([3], 1.0), ([0, 0, 0], 1.0), ([1, 1], 0.5), ([1] * 6, 2**-5)]
)
def test_differences_that_are_all_equal_are_judged_by_their_number(differences, p):
    result = matched_pairs(differences)
    assert (result["statistic"], result["p"]) == (None, p)
