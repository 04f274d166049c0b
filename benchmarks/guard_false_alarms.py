"""How often the regression guard alarms when nothing changed, and how often when one group did.

    python benchmarks/guard_false_alarms.py [--runs 2000]

Each simulated run has GROUPS groups of UTTERANCES utterances and LOOKS evaluations after the one before training. An
utterance has a length, a difficulty of its own, and errors drawn from both; at each evaluation a share of the
utterances is decoded anew, so that evaluations of one run depend on each other through the first. In the last rows one
group of each run becomes worse by some points of WER while all others become better by two, so that the mean improves.
"""

from __future__ import annotations

import argparse

import numpy as np

from antiphon.evaluate.bootstrap import holm, worsening_p

GROUPS, UTTERANCES, LOOKS = 8, 40, 5
ALPHA = 0.05
RESAMPLES = 10_000
AT_ONCE = 25
"""Simulated runs tested with the same resamples."""


def simulate(
    rng: np.random.Generator, runs: int, utterances: int, changed: float, harm: float, gain: float
) -> tuple[np.ndarray, np.ndarray]:
    """Errors after − before [runs, GROUPS, LOOKS, utterances], and the share of runs whose mean WER fell at the end.

    `changed` is the share of utterances that an evaluation decodes anew. `harm` is added to the error probability of
    each run's first group, and `gain` taken from that of the others.
    """
    words = rng.integers(3, 13, size=(runs, GROUPS, 1, utterances))
    difficulty = rng.beta(1, 6, size=words.shape)
    shift = np.full((1, GROUPS, 1, 1), -gain)
    shift[0, 0] = harm
    before = rng.binomial(words, difficulty)
    now = np.clip(difficulty + shift, 0, 1)
    shape = (runs, GROUPS, LOOKS, utterances)
    after = rng.binomial(np.broadcast_to(words, shape), np.broadcast_to(now, shape))
    growth = np.where(rng.random(shape) < changed, after - before, 0)
    return growth, (growth[:, :, -1].sum(axis=(1, 2)) < 0).mean()


def adjusted(growth: np.ndarray) -> np.ndarray:
    """p-values [runs, GROUPS, LOOKS], corrected as the guard corrects them."""
    runs, _, _, utterances = growth.shape
    p = np.empty((runs, GROUPS, LOOKS))
    for start in range(0, runs, AT_ONCE):
        part = growth[start : start + AT_ONCE]
        columns = part.reshape(-1, utterances).T
        p[start : start + AT_ONCE] = worsening_p(columns, resamples=RESAMPLES).reshape(part.shape[:3])
    corrected = np.apply_along_axis(holm, 1, p)
    return np.minimum(corrected * LOOKS, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=2000)
    runs = parser.parse_args().runs
    rng = np.random.default_rng(0)
    print(f"{runs} runs, {GROUPS} groups, {LOOKS} evaluations, alpha {ALPHA}\n")
    print("utterances a group, share decoded anew: runs with an alarm, runs with one at the last evaluation alone")
    for utterances in (10, UTTERANCES):
        for changed in (0.1, 0.5, 1.0):
            p = adjusted(simulate(rng, runs, utterances, changed, harm=0.0, gain=0.0)[0])
            alarms = (p <= ALPHA).any(axis=(1, 2)).mean()
            single = (p[:, :, -1] / LOOKS <= ALPHA).any(axis=1).mean()
            print(f"{utterances:>4} {changed:>5}: {100 * alarms:5.2f}% {100 * single:5.2f}%")
    print("\nutterances a group, WER points lost by one: caught at any look, alarms for another group, mean WER fell")
    for utterances in (UTTERANCES, 150):
        for harm in (0.03, 0.05, 0.1):
            growth, fell = simulate(rng, runs, utterances, changed=1.0, harm=harm, gain=0.02)
            alarms = adjusted(growth) <= ALPHA
            caught, false = alarms[:, 0].any(axis=1).mean(), alarms[:, 1:].any(axis=(1, 2)).mean()
            print(f"{utterances:>4} {100 * harm:>5.0f}: {100 * caught:5.1f}% {100 * false:5.2f}% {100 * fell:5.1f}%")


if __name__ == "__main__":
    main()
