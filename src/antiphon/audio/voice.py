"""Where somebody speaks, by energy alone, and long recordings cut where nobody does."""

from __future__ import annotations

import numpy as np

from antiphon.types import Hertz, Seconds

FRAME: Seconds = 0.02
SHORTEST_PAUSE: Seconds = 0.3
"""A shorter one is part of the speech around it."""
MARGIN: Seconds = 0.2
"""Kept before and after speech, so that no soft beginning or end is lost."""
ABOVE_FLOOR = 9.0
LEAST_BELOW, MOST_BELOW = 25.0, 45.0
"""Decibels: speech is so much louder than the quietest tenth of frames. But what is within the one of the loudest frame
is always speech, and what is further below it than the other never."""
SILENCE = -70.0
"""Decibels of full scale: a recording whose loudest frame is quieter holds nothing."""

Span = tuple[int, int]
"""First sample, and the one after the last."""


def split(waveform: np.ndarray, rate: Hertz, longest: Seconds) -> list[Span]:
    """The parts of `waveform` [samples] to recognize one by one, each `longest` seconds at most, in order.

    A recording that is no longer is one part, as it is. Of a longer one, speech is kept with a margin around it and
    as much of it as fits goes together; speech without a pause is cut where it is quietest. A recording in which
    nobody speaks has no parts.
    """
    if len(waveform) <= longest * rate:
        return [(0, len(waveform))]
    hop = max(round(FRAME * rate), 1)
    levels = _levels(waveform, hop)
    most = int(longest * rate) // hop
    spoken = [part for run in _speech(levels) for part in _cut(levels, run, most)]
    return [(begin * hop, min(end * hop, len(waveform))) for begin, end in _together(spoken, most)]


def _levels(waveform: np.ndarray, hop: int) -> np.ndarray:
    """Mean power of each frame of `hop` samples, in decibels [frames]."""
    padded = np.pad(waveform, (0, -len(waveform) % hop)).reshape(-1, hop)
    return 10 * np.log10(np.mean(np.square(padded, dtype=np.float64), axis=1) + 1e-10)


def _speech(levels: np.ndarray) -> list[Span]:
    """Runs of frames that are spoken, with their margins."""
    peak = levels.max()
    if peak < SILENCE:
        return []
    threshold = min(max(np.percentile(levels, 10) + ABOVE_FLOOR, peak - MOST_BELOW), peak - LEAST_BELOW)
    spoken = np.flatnonzero(levels >= threshold)
    margin, pause = round(MARGIN / FRAME), round(SHORTEST_PAUSE / FRAME) + 2 * round(MARGIN / FRAME)
    runs: list[Span] = []
    for part in np.split(spoken, np.flatnonzero(np.diff(spoken) > pause) + 1):
        runs.append((max(int(part[0]) - margin, 0), min(int(part[-1]) + 1 + margin, len(levels))))
    return runs


def _cut(levels: np.ndarray, run: Span, most: int) -> list[Span]:
    """`run` in parts of `most` frames at most, cut at the quietest frame of each part's second half."""
    begin, end = run
    parts = []
    while end - begin > most:
        half = begin + most // 2
        cut = half + int(np.argmin(levels[half : begin + most]))
        parts.append((begin, cut))
        begin = cut
    return [*parts, (begin, end)]


def _together(parts: list[Span], most: int) -> list[Span]:
    """Neighbors joined as long as what they span fits into `most` frames."""
    joined: list[Span] = []
    for begin, end in parts:
        if joined and end - joined[-1][0] <= most:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((begin, end))
    return joined
