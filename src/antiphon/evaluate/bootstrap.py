"""Bootstrap intervals and paired tests for error rates, which are ratios of sums over utterances, and Holm's method."""

from __future__ import annotations

import warnings
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
    relative: float | None
    """delta / rate(a): −0.12 where b makes 12% fewer errors. None where a makes none."""
    relative_ci: tuple[float, float] | None


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
    from scipy import stats  # Here, as it takes as long to import as most commands take.

    ignored = warnings.catch_warnings(action="ignore", category=stats.DegenerateDataWarning)
    with ignored, np.errstate(divide="ignore", invalid="ignore"):
        rates = stats.bootstrap(
            (sums[:, 0], sums[:, 1]),
            lambda of_errors, of_lengths, axis: of_errors.sum(axis) / of_lengths.sum(axis),
            paired=True,
            vectorized=True,
            n_resamples=resamples,
            batch=max(1, _DRAWS_AT_ONCE // len(sums)),
            method="percentile",
            rng=np.random.default_rng(seed),
        ).bootstrap_distribution
    # Not scipy's interval: that is NaN where a single draw has no reference unit.
    return _interval(rates[np.isfinite(rates)], level)


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
    share of resamples with delta ≤ 0 or ≥ 0, with one added to counts and total, so that it is never zero. The
    interval of `relative` leaves out resamples in which a makes no error.
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
    erring = drawn[drawn[:, 0] > 0]
    return PairedTest(
        delta=float((total_b - total_a) / total_ref),
        ci=_interval(deltas, level),
        p=min(1.0, 2.0 * float(smaller_tail + 1) / (len(deltas) + 1)),
        relative=float(total_b / total_a - 1) if total_a else None,
        relative_ci=_interval(erring[:, 1] / erring[:, 0] - 1, level) if total_a else None,
    )


def worsening_p(
    differences: ArrayLike,
    blocks: Sequence[Hashable | None] | None = None,
    resamples: int = 2000,
    seed: int = 0,
) -> np.ndarray:
    """One-sided p [...] of "errors have not grown", from errors after − errors before, [n, ...], one row an utterance.

    The larger of two. The paired bootstrap's is the share of resamples in which errors have not grown (Bisani & Ney
    2004). The randomization test's is the share of random exchanges of before and after, utterance by utterance,
    that make errors grow as much as they did (Fisher 1935); it is exact where before and after are alike. On few
    utterances the bootstrap alone is too sure: ten that change by chance give p ≤ 0.001 eleven times too often.
    Both draw utterances, or whole `blocks` [n] as `bootstrap_ci` does, and add one to counts and total.
    """
    values = np.asarray(differences, dtype=np.float64)
    units = _sums_per_block(values.reshape(len(values), -1), blocks)
    growth = units.sum(axis=0)
    not_grown, as_great = np.zeros((2, len(growth)))
    rng = np.random.default_rng(seed)
    for draw in _draws(rng, len(units), resamples):
        cells = draw + np.arange(len(draw))[:, None] * len(units)
        counts = np.bincount(cells.ravel(), minlength=draw.size).reshape(draw.shape).astype(np.float64)
        not_grown += (counts @ units <= 0).sum(axis=0)
        signs = rng.choice([-1.0, 1.0], size=draw.shape)
        as_great += (signs @ units >= growth).sum(axis=0)
    return ((np.maximum(not_grown, as_great) + 1) / (resamples + 1)).reshape(values.shape[1:])


def holm(p_values: ArrayLike) -> np.ndarray:
    """Adjusted p-values [m]: those at most α keep the chance of any false one at α or below.

    Method: Holm 1979, "A simple sequentially rejective multiple test procedure". It asks nothing of how the tests
    depend on each other.
    """
    p = _vector(p_values)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


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
