"""Bootstrap intervals and paired tests for error rates, which are ratios of sums over utterances."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import TypedDict

import numpy as np
from numpy.typing import ArrayLike

MIN_BLOCKS = 10
"""Whole speakers are resampled from this many on: fewer say too little about how speakers differ."""

_DRAWS_AT_ONCE = 1 << 20


class PairedTest(TypedDict):
    delta: float
    """rate(b) − rate(a), a fraction: negative where b is the better system."""
    ci: tuple[float, float]
    p: float
    """Two-sided, of the hypothesis that the systems are equally good."""


def resampled_in_blocks(blocks: Sequence[Hashable | None] | None) -> bool:
    """Whether `blocks` names enough distinct speakers (10) for whole speakers to be resampled."""
    return blocks is not None and len({block for block in blocks if block is not None}) >= MIN_BLOCKS


def bootstrap_ci(
    errors: ArrayLike,
    ref_lengths: ArrayLike,
    blocks: Sequence[Hashable | None] | None = None,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> tuple[float, float] | None:
    """Percentile interval of Σ errors / Σ ref_lengths, both [n], as fractions. The seed decides all of it.

    Utterances are drawn with replacement, or, where at least 10 distinct `blocks` [n] (speakers) are named,
    whole blocks, since utterances of one speaker are not independent; an utterance whose block is None is a
    block of its own. Draws without a single reference unit have no rate and are left out. None where no
    interval exists: fewer than two utterances or blocks, or no reference units at all. Method: Bisani & Ney
    2004, "Bootstrap estimates for confidence intervals in ASR performance evaluation".
    """
    sums = _sums_per_block(np.stack([_vector(errors), _vector(ref_lengths)], axis=1), blocks)
    if len(sums) < 2 or sums[:, 1].sum() == 0:
        return None
    drawn = _resampled_sums(sums, resamples, seed)
    drawn = drawn[drawn[:, 1] > 0]
    return _interval(drawn[:, 0] / drawn[:, 1], level)


def paired_bootstrap(
    errors_a: ArrayLike,
    errors_b: ArrayLike,
    ref_lengths: ArrayLike,
    blocks: Sequence[Hashable | None] | None = None,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> PairedTest | None:
    """Compares systems a and b on the same utterances, row for row: each resample draws them for both alike.

    Arguments, and the cases without a result, are those of `bootstrap_ci`. The p-value doubles the smaller
    share of resamples with delta ≤ 0 or ≥ 0, with one added to counts and total, so that it is never zero.
    Method: Bisani & Ney 2004, whose "probability of improvement" is the share with delta < 0.
    """
    columns = np.stack([_vector(errors_a), _vector(errors_b), _vector(ref_lengths)], axis=1)
    sums = _sums_per_block(columns, blocks)
    if len(sums) < 2 or sums[:, 2].sum() == 0:
        return None
    total_a, total_b, total_ref = columns.sum(axis=0)
    drawn = _resampled_sums(sums, resamples, seed)
    drawn = drawn[drawn[:, 2] > 0]
    deltas = (drawn[:, 1] - drawn[:, 0]) / drawn[:, 2]
    smaller_tail = min((deltas <= 0).sum(), (deltas >= 0).sum())
    return PairedTest(
        delta=float((total_b - total_a) / total_ref),
        ci=_interval(deltas, level),
        p=min(1.0, 2.0 * float(smaller_tail + 1) / (len(deltas) + 1)),
    )


def _vector(values: ArrayLike) -> np.ndarray:
    return np.asarray(values, dtype=np.float64).reshape(-1)


def _sums_per_block(columns: np.ndarray, blocks: Sequence[Hashable | None] | None) -> np.ndarray:
    """[n, k] per utterance to [m, k] per resampling unit."""
    if blocks is None or not resampled_in_blocks(blocks):
        return columns
    keys = [("row", row) if block is None else ("block", block) for row, block in enumerate(blocks)]
    index = {key: position for position, key in enumerate(dict.fromkeys(keys))}
    sums = np.zeros((len(index), columns.shape[1]))
    np.add.at(sums, [index[key] for key in keys], columns)
    return sums


def _resampled_sums(units: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """[m, k] units to [resamples, k] sums over m units drawn with replacement."""
    rng = np.random.default_rng(seed)
    return np.concatenate([units[draw].sum(axis=1) for draw in _draws(rng, len(units), resamples)])


def _draws(rng: np.random.Generator, size: int, resamples: int) -> Iterator[np.ndarray]:
    """Index arrays [rows, size], `resamples` rows in all, few enough at a time to fit in memory."""
    rows = max(1, _DRAWS_AT_ONCE // size)
    for start in range(0, resamples, rows):
        yield rng.integers(0, size, size=(min(rows, resamples - start), size))


def _interval(values: np.ndarray, level: float) -> tuple[float, float]:
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
