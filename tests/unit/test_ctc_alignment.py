"""Forced alignment finds the most probable of all paths."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from antiphon.models.ctc_alignment import align_labels


def collapsed(path: tuple[int, ...]) -> list[int]:
    return [label for label, _ in itertools.groupby(path) if label != 0]


@pytest.mark.parametrize("labels", [[1], [1, 2], [1, 1], [2, 1, 2], [1, 1, 2]])
def test_the_path_is_the_best_of_all(labels):
    scores = np.log(np.random.default_rng(0).dirichlet(np.ones(3), size=6))
    paths = [path for path in itertools.product(range(3), repeat=6) if collapsed(path) == labels]
    best = max(paths, key=lambda path: sum(scores[t, label] for t, label in enumerate(path)))
    runs = [(label, [t for t, _ in run]) for label, run in itertools.groupby(enumerate(best), key=lambda one: one[1])]
    assert align_labels(scores, labels, 0) == [(run[0], run[-1] + 1) for label, run in runs if label]


def test_too_few_frames_have_no_path():
    scores = np.zeros((2, 3))
    assert align_labels(scores, [1, 1], 0) is None
    assert align_labels(scores, [1, 2, 1], 0) is None
    assert align_labels(scores, [], 0) == []
