"""How often `antiphon compare` calls chance a difference, sees a real one, and how often its interval holds the truth.

Two recognizers are simulated: each word goes wrong with a chance of its speaker's own, 20% on average, shared by both
recognizers; the second makes a share fewer of the errors. Prints a table, in seconds:

    python benchmarks/compare_errors.py
"""

from __future__ import annotations

import argparse

import numpy as np

from antiphon.evaluate.bootstrap import paired_bootstrap
from antiphon.evaluate.mapsswe import matched_pairs

WORDS = 8
RATE = 0.2
DESIGNS = [(1, 12), (1, 60), (1, 300), (12, 10), (40, 10)]
"""Speakers, and utterances of each; with one speaker utterances are independent."""
FEWER = [0.0, 0.25]


def simulate(speakers: int, utterances: int, fewer: float, runs: int, resamples: int) -> np.ndarray:
    """Shares of `runs` [4]: the bootstrap, MAPSSWE and both together say p < 0.05; the interval holds the truth."""
    draw = np.random.default_rng(speakers * utterances)
    n = speakers * utterances
    names = [str(row // utterances) for row in range(n)]
    seen = np.zeros(4)
    for run in range(runs):
        spread = draw.beta(4, 16, size=(speakers, 1)) if speakers > 1 else np.full((1, 1), RATE)
        chance = np.repeat(spread, utterances, axis=0)
        a = draw.random((n, WORDS)) < chance
        b = draw.random((n, WORDS)) < chance * (1 - fewer)
        errors_a, errors_b = a.sum(axis=1), b.sum(axis=1)
        drawn = paired_bootstrap(errors_a, errors_b, np.full(n, WORDS), names, resamples=resamples, seed=run)
        assert drawn is not None
        assert drawn["relative_ci"] is not None
        wrong = errors_a + errors_b > 0
        pairs = matched_pairs((errors_b - errors_a)[wrong])["p"]
        low, high = drawn["relative_ci"]
        tests = np.array([drawn["p"], pairs, max(drawn["p"], pairs)]) < 0.05
        seen += [*tests, low <= -fewer <= high]
    return seen / runs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--resamples", type=int, default=300)
    options = parser.parse_args()
    print("| speakers × utterances | errors fewer | bootstrap p < 0.05 | MAPSSWE p < 0.05 | both | interval holds |")
    print("|---|---|---|---|---|---|")
    for speakers, utterances in DESIGNS:
        for fewer in FEWER:
            shares = simulate(speakers, utterances, fewer, options.runs, options.resamples)
            cells = " | ".join(f"{100 * share:.1f}%" for share in shares)
            print(f"| {speakers} × {utterances} | {100 * fewer:.0f}% | {cells} |", flush=True)


if __name__ == "__main__":
    main()
