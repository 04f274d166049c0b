"""The matched-pairs test of two recognizers on segments of speech whose errors do not depend on each other.

L. Gillick and S. J. Cox, "Some statistical issues in the comparison of speech recognition algorithms", ICASSP 1989:
the speech is cut where both systems are right for a while, and what counts is by how many errors they differ in each
piece between. Cutting within utterances gives more segments than utterances, and the errors of one word's neighbors
stay together.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TypedDict

import numpy as np
from scipy import stats

from antiphon.text.alignment import align

GOOD_WORDS = 2
"""So many words in a row that both systems have right part two segments, as in the paper's example and NIST's sctk."""

Words = Sequence[str]


class MatchedPairs(TypedDict):
    segments: int
    """With an error of either system; segments without any are not counted."""
    mean: float
    """Errors of b less errors of a, per segment."""
    statistic: float | None
    """The mean over its standard error. None where all differences are equal."""
    p: float
    """Two-sided, of the hypothesis that the systems make equally many errors in a segment."""


def mapsswe(utterances: Iterable[tuple[Words, Words, Words]]) -> MatchedPairs:
    """Compares systems a and b on (reference, what a recognized, what b recognized), each in words."""
    return matched_pairs([b - a for one in utterances for a, b in segments(*one)])


def segments(reference: Words, a: Words, b: Words) -> list[tuple[int, int]]:
    """(errors of a, errors of b) in each segment of one utterance; its ends part segments too."""
    found: list[tuple[int, int]] = []
    here, good = np.zeros(2, dtype=int), 0
    for errors, is_word in _places(reference, a, b):
        if not errors.any():
            good += is_word
            continue
        if good >= GOOD_WORDS and here.any():
            found.append((int(here[0]), int(here[1])))
            here = np.zeros(2, dtype=int)
        here, good = here + errors, 0
    return [*found, (int(here[0]), int(here[1]))] if here.any() else found


def matched_pairs(differences: Sequence[float]) -> MatchedPairs:
    """The test of differences [segments] whose mean is 0 where systems are alike.

    The paper compares the statistic with a normal distribution, which is right for many segments. Student's t with
    one degree of freedom less than segments says the same of many, and is not too sure of few. Where all segments
    differ by the same, there is no standard error: the p-value is then that of the sign test.
    """
    values = np.asarray(differences, dtype=np.float64)
    n, mean = len(values), float(values.mean()) if len(values) else 0.0
    error = float(values.std(ddof=1)) / n**0.5 if n > 1 else 0.0
    if error == 0:
        return MatchedPairs(segments=n, mean=mean, statistic=None, p=min(1.0, 2 * 0.5**n) if mean else 1.0)
    statistic = mean / error
    return MatchedPairs(segments=n, mean=mean, statistic=statistic, p=float(2 * stats.t.sf(abs(statistic), n - 1)))


def _places(reference: Words, a: Words, b: Words) -> Iterator[tuple[np.ndarray, bool]]:
    """The errors [2] of both systems at each place in reading order: before the first word, the first word, after it
    and so on; and whether the place is a word. Insertions are errors of the places between."""
    errors = np.zeros((2 * len(reference) + 1, 2), dtype=int)
    for system, recognized in enumerate((a, b)):
        gap = 0
        for op in align(reference, recognized):
            if op.ref is not None:
                gap = 2 * op.ref + 2
            if op.kind != "hit":
                errors[gap if op.ref is None else 2 * op.ref + 1, system] += 1
    for place, row in enumerate(errors):
        yield row, place % 2 == 1
