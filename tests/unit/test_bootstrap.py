"""Intervals that cover the truth as often as they say, and paired tests that tell systems apart."""

import numpy as np
import pytest

from antiphon.evaluate.bootstrap import bootstrap_ci, paired_bootstrap, resampled_in_blocks


def interval(*args, **kwargs) -> tuple[float, float]:
    result = bootstrap_ci(*args, **kwargs)
    assert result is not None
    return result


def test_two_utterances_worked_by_hand() -> None:
    # 0 errors in 2 words and 4 in 2: a resample has WER 0 (1 in 4), 1 (2 in 4) or 2 (1 in 4)
    assert interval([0, 4], [2, 2]) == (0.0, 2.0)
    assert interval([0, 4], [2, 2], level=0.4) == (1.0, 1.0)


def test_equal_rates_leave_no_width() -> None:
    assert interval([1, 2, 3], [4, 8, 12]) == (0.25, 0.25)


def test_the_seed_decides_everything() -> None:
    errors, lengths = np.arange(50) % 7, 10 + np.arange(50)
    assert interval(errors, lengths, seed=3) == interval(errors, lengths, seed=3)
    assert interval(errors, lengths, seed=3) != interval(errors, lengths, seed=4)


@pytest.mark.parametrize("size", [2, 7, 60, 900])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_scipy_draws_what_is_drawn_by_hand(size: int, seed: int) -> None:
    made = np.random.default_rng([size, seed])
    lengths = made.integers(size < 60, 14, size=size)
    lengths[0] += 1
    errors = made.integers(0, 6, size=size)
    draw = np.random.default_rng(seed).integers(0, size, size=(500, size))
    drawn, said = errors[draw].sum(axis=1), lengths[draw].sum(axis=1)
    expected = np.quantile(drawn[said > 0] / said[said > 0], [(1 - 0.9) / 2, (1 + 0.9) / 2])
    assert interval(errors, lengths, level=0.9, resamples=500, seed=seed) == tuple(expected)


def test_coverage_is_near_the_level() -> None:
    draw = np.random.default_rng(0)
    truth, replicas, covered = 0.2, 200, 0
    for replica in range(replicas):
        lengths = draw.integers(3, 12, size=60)
        low, high = interval(draw.binomial(lengths, truth), lengths, resamples=400, seed=replica)
        covered += low <= truth <= high
    assert 0.90 <= covered / replicas <= 0.99


def test_coverage_with_dependent_speakers_needs_blocks() -> None:
    draw = np.random.default_rng(1)
    replicas, blocked, unblocked = 100, 0, 0
    speakers = [str(i // 10) for i in range(400)]
    lengths = np.full(400, 8)
    for replica in range(replicas):
        rates = np.repeat(draw.beta(2, 8, size=40), 10)  # mean 0.2
        errors = draw.binomial(lengths, rates)
        low, high = interval(errors, lengths, blocks=speakers, resamples=300, seed=replica)
        blocked += low <= 0.2 <= high
        low, high = interval(errors, lengths, resamples=300, seed=replica)
        unblocked += low <= 0.2 <= high
    assert 0.88 <= blocked / replicas <= 1.0
    assert unblocked / replicas < 0.8


def test_blocks_count_from_ten_speakers_on() -> None:
    assert not resampled_in_blocks(None)
    assert not resampled_in_blocks(["a"] * 20)
    assert not resampled_in_blocks([*"abcdefghi", None, None])
    assert resampled_in_blocks(list("abcdefghij"))
    errors, lengths, few = np.arange(18), np.full(18, 20), list("abcdefghi") * 2
    assert interval(errors, lengths, blocks=few) == interval(errors, lengths)


def test_a_block_is_the_same_as_one_long_utterance() -> None:
    errors, lengths = np.arange(24), np.full(24, 30)
    pairs = [str(i // 2) for i in range(24)]
    merged = interval(errors.reshape(12, 2).sum(axis=1), lengths.reshape(12, 2).sum(axis=1))
    assert interval(errors, lengths, blocks=pairs) == merged


def test_an_utterance_without_speaker_is_a_block_of_its_own() -> None:
    errors, lengths = np.arange(14), np.full(14, 20)
    named: list[str | None] = [*"abcdefghij", None, None, None, None]
    assert interval(errors, lengths, blocks=named) == interval(errors, lengths)


@pytest.mark.filterwarnings("error")
def test_draws_without_reference_words_are_left_out() -> None:
    assert interval([0, 1], [0, 2]) == (0.5, 0.5)


@pytest.mark.parametrize(("errors", "lengths"), [([], []), ([1], [4]), ([3, 2], [0, 0])])
def test_no_interval_where_none_exists(errors: list[int], lengths: list[int]) -> None:
    assert bootstrap_ci(errors, lengths) is None
    assert paired_bootstrap(errors, errors, lengths) is None


def test_a_large_corpus_fits_in_memory_and_is_centered() -> None:
    draw = np.random.default_rng(2)
    lengths = draw.integers(3, 12, size=5000)
    low, high = interval(draw.binomial(lengths, 0.1), lengths, resamples=500)
    assert 0.09 < low < 0.1 < high < 0.11


def test_a_clear_difference_is_significant() -> None:
    lengths = np.full(80, 10)
    result = paired_bootstrap(np.full(80, 3) + np.arange(80) % 2, np.full(80, 1), lengths)
    assert result is not None
    assert result["delta"] == pytest.approx(0.1 - 0.35)
    assert result["ci"][0] <= -0.25 <= result["ci"][1] < 0
    assert result["p"] == pytest.approx(2 / 2001)


def test_the_same_system_twice_is_no_difference() -> None:
    result = paired_bootstrap([1, 2, 3], [1, 2, 3], [5, 5, 5])
    assert result == {"delta": 0.0, "ci": (0.0, 0.0), "p": 1.0, "relative": 0.0, "relative_ci": (0.0, 0.0)}


def test_pairing_sees_what_separate_intervals_hide() -> None:
    hardness = np.arange(60) % 20
    lengths = np.full(60, 30)
    better = hardness
    worse = hardness + np.arange(60) % 2
    assert interval(better, lengths)[1] > interval(worse, lengths)[0]
    result = paired_bootstrap(worse, better, lengths)
    assert result is not None
    assert result["p"] < 0.01


def test_p_is_uniform_enough_without_a_difference() -> None:
    draw = np.random.default_rng(3)
    lengths = np.full(50, 10)
    small = 0
    for replica in range(200):
        a, b = draw.binomial(10, 0.2, size=(2, 50))
        result = paired_bootstrap(a, b, lengths, resamples=300, seed=replica)
        assert result is not None
        small += result["p"] < 0.05
    assert 0.01 <= small / 200 <= 0.1
