"""Energy-based voice activity detection, and splitting of long recordings at pauses."""

from __future__ import annotations

import numpy as np

from antiphon.types import Hertz, Seconds

FRAME: Seconds = 0.02
SHORTEST_PAUSE: Seconds = 0.3
"""Shorter pauses count as speech."""
MARGIN: Seconds = 0.2
"""Kept before and after speech, to preserve soft onsets and endings."""
ABOVE_FLOOR = 9.0
LEAST_BELOW, MOST_BELOW = 25.0, 45.0
"""Decibels. Speech is ABOVE_FLOOR louder than the quietest tenth of frames. But frames within LEAST_BELOW of the
loudest one are always speech, and those more than MOST_BELOW under it never are."""
SILENCE = -70.0
"""Decibels of full scale; if the loudest frame is quieter, there is no speech."""

Span = tuple[int, int]
"""First sample and the one after the last."""


def split(waveform: np.ndarray, rate: Hertz, longest: Seconds) -> list[Span]:
    """Split `waveform` [samples] into parts of at most `longest` seconds to transcribe, in order.

    A short recording is one part, unchanged. From a longer one, speech is kept with a margin, and as much as fits is
    merged into one part; speech without a pause is cut where it is quietest. Without speech there are no parts.
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
    """Runs of speech frames, with margins."""
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
    """Cut `run` into parts of at most `most` frames, at the quietest frame of each part's second half."""
    begin, end = run
    parts = []
    while end - begin > most:
        half = begin + most // 2
        cut = half + int(np.argmin(levels[half : begin + most]))
        parts.append((begin, cut))
        begin = cut
    return [*parts, (begin, end)]


def _together(parts: list[Span], most: int) -> list[Span]:
    """Merge neighbors while their span fits into `most` frames."""
    joined: list[Span] = []
    for begin, end in parts:
        if joined and end - joined[-1][0] <= most:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((begin, end))
    return joined
