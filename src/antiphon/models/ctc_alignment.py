"""Forced alignment: the most probable path of a label sequence through the frames of a CTC model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Span = tuple[int, int]
"""First frame and the one after the last."""


def align_labels(scores: np.ndarray, labels: Sequence[int], blank: int) -> list[Span] | None:
    """The frames of each of `labels` on the best path; None if there are too few frames for them.

    `scores` [T, V] are frame-wise log-probabilities. The path runs through the labels with a blank between, before and
    after them, which may be skipped unless equal labels are neighbors (Graves et al. 2006, section 4.1, with the
    maximum in place of the sum: Viterbi).
    """
    states = np.full(2 * len(labels) + 1, blank)
    states[1::2] = labels
    skips = np.zeros(len(states), bool)
    skips[3::2] = states[3::2] != states[1:-2:2]
    best = np.full(len(states), -np.inf)
    best[:2] = scores[0, states[:2]]
    moves = np.zeros((len(scores), len(states)), np.int8)
    for t in range(1, len(scores)):
        stay = best
        step = np.concatenate([[-np.inf], best[:-1]])
        skip = np.where(skips, np.concatenate([[-np.inf, -np.inf], best[:-2]])[: len(best)], -np.inf)
        choices = np.stack([stay, step, skip])
        moves[t] = choices.argmax(0)
        best = choices.max(0) + scores[t, states]
    last = len(states) - 1
    state = last if last == 0 or best[last] >= best[last - 1] else last - 1
    if not np.isfinite(best[state]):
        return None
    path = np.empty(len(scores), int)
    for t in range(len(scores) - 1, -1, -1):
        path[t] = state
        state -= moves[t, state]
    frames = [np.flatnonzero(path == 2 * i + 1) for i in range(len(labels))]
    return [(int(own[0]), int(own[-1]) + 1) for own in frames]
