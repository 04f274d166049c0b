"""Prefix beam search over frame-wise CTC log-probabilities."""

from __future__ import annotations

import heapq
import math

import numpy as np

Labels = tuple[int, ...]


def prefix_beam_search(scores: np.ndarray, blank: int, width: int) -> list[Labels]:
    """Up to `width` label sequences, the most probable first, from log-probabilities `scores` [T, V].

    Hannun et al. 2014 (1408.2873), algorithm 1, without a language model. A prefix keeps two sums over the paths that
    collapse to it: those that end in a blank, and those that end in its last label. Each frame tries only labels that
    could bring a prefix into the beam: the `width + 1` most probable, and the last labels of the beam's prefixes. This
    does not change the result.
    """
    beam: dict[Labels, tuple[float, float]] = {(): (0.0, -math.inf)}
    for frame in scores:
        tried = set(np.argsort(frame)[-width - 2 :].tolist()) | {prefix[-1] for prefix in beam if prefix}
        tried = [label for label in tried if label != blank and frame[label] > -math.inf]
        frame = frame.tolist()
        grown: dict[Labels, tuple[float, float]] = {}
        for prefix, (in_blank, in_label) in beam.items():
            total = _add(in_blank, in_label)
            last = prefix[-1] if prefix else None
            again = -math.inf if last is None else in_label + frame[last]
            _grow(grown, prefix, total + frame[blank], again)
            for label in tried:
                # A repeated label needs a blank in between.
                before = in_blank if label == last else total
                if before > -math.inf:
                    _grow(grown, (*prefix, label), -math.inf, before + frame[label])
        best = heapq.nlargest(width, grown.items(), key=lambda item: _add(*item[1]))
        beam = dict(best)
    return list(beam)


def _grow(beam: dict[Labels, tuple[float, float]], prefix: Labels, in_blank: float, in_label: float) -> None:
    old = beam.get(prefix, (-math.inf, -math.inf))
    beam[prefix] = (_add(old[0], in_blank), _add(old[1], in_label))


def _add(a: float, b: float) -> float:
    """log(exp(a) + exp(b))."""
    if a < b:
        a, b = b, a
    return a if b == -math.inf else a + math.log1p(math.exp(b - a))
