"""Energy-based voice activity detection, and splitting of long recordings at pauses."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from scipy.special import expit

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

_BAND_EDGES = (80, 250, 500, 1000, 1500, 2000, 3000, 4000, 6000)
"""Hertz."""
_STEADY = 5.0
"""Decibels. White, pink and brown noise and hum of 0.5 to 8 s stay below 4.2; speech at -5 dB in white noise does not
fall below 5.6, and the built-in noisy sets not below 11."""
_STEEPNESS = 0.4
"""Decibels, of the logistic function between noise and speech."""

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


def runs(waveform: np.ndarray, rate: Hertz, longest: Seconds, pause: Seconds, margin: Seconds) -> list[Span]:
    """Every run of speech in `waveform` [samples] by itself, with `margin` before and after it, or half the pause.

    Runs are separated by more than `pause` of silence; longer ones than `longest` are cut where they are quietest.
    """
    hop = max(round(FRAME * rate), 1)
    levels = _levels(waveform, hop)
    spoken = _speech(levels, pause - 2 * margin, margin)
    borders = [(end + begin) // 2 for (_, end), (begin, _) in pairwise(spoken)]
    starts, ends = [0, *borders], [*borders, len(levels)]
    apart = [(max(run[0], start), min(run[1], end)) for run, start, end in zip(spoken, starts, ends, strict=False)]
    found = [part for run in apart for part in _cut(levels, run, int(longest * rate) // hop)]
    return [(begin * hop, min(end * hop, len(waveform))) for begin, end in found]


def _levels(waveform: np.ndarray, hop: int) -> np.ndarray:
    """Mean power of each frame of `hop` samples, in decibels [frames]."""
    padded = np.pad(waveform, (0, -len(waveform) % hop)).reshape(-1, hop)
    return 10 * np.log10(np.mean(np.square(padded, dtype=np.float64), axis=1) + 1e-10)


def speech_frames(waveform: np.ndarray, rate: Hertz) -> np.ndarray:
    """Whether each frame of `FRAME` is louder than what counts as silence [frames], bool."""
    levels = _levels(waveform, max(round(FRAME * rate), 1))
    return levels >= _threshold(levels)


def _threshold(levels: np.ndarray) -> float:
    """Decibels from which on a frame counts as speech."""
    peak = levels.max()
    return min(max(np.percentile(levels, 10) + ABOVE_FLOOR, peak - MOST_BELOW), peak - LEAST_BELOW)


def _speech(levels: np.ndarray, pause: Seconds = SHORTEST_PAUSE, margin: Seconds = MARGIN) -> list[Span]:
    """Runs of speech frames, with margins."""
    if levels.max() < SILENCE:
        return []
    spoken = np.flatnonzero(levels >= _threshold(levels))
    around = round(margin / FRAME)
    gap = round(pause / FRAME) + 2 * around
    parts = np.split(spoken, np.flatnonzero(np.diff(spoken) > gap) + 1)
    return [(max(int(part[0]) - around, 0), min(int(part[-1]) + 1 + around, len(levels))) for part in parts]


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


def no_speech_probability(waveform: np.ndarray, rate: Hertz) -> float:
    """How likely it is that `waveform` [samples] holds silence or steady noise only, from 0 to 1.

    Speech changes faster than a steady noise, and in several bands: the measure is the second largest of the bands'
    ranges, each between the 10th and the 95th percentile of its level over time. It cannot tell speech from music.
    """
    if len(waveform) == 0 or _levels(waveform, max(round(FRAME * rate), 1)).max() < SILENCE:
        return 1.0
    levels = _band_levels(waveform, rate)
    low, high = np.percentile(levels, [10, 95], axis=0)
    changing = np.sort(high - low)[-2]
    return float(expit((_STEADY - changing) / _STEEPNESS))


def _band_levels(waveform: np.ndarray, rate: Hertz) -> np.ndarray:
    """Levels of the bands in decibels [frames, bands]: 32 ms every 16 ms, averaged over four frames."""
    width, hop = round(0.032 * rate), round(0.016 * rate)
    padded = np.pad(waveform, (0, max(width - len(waveform), 0)))
    frames = np.lib.stride_tricks.sliding_window_view(padded, width)[::hop] * np.hanning(width)
    power = np.square(np.abs(np.fft.rfft(frames, axis=1)))
    bins = np.fft.rfftfreq(width, 1 / rate)
    bands = [(bins >= low) & (bins < high) for low, high in pairwise(_BAND_EDGES) if high <= rate / 2]
    levels = np.stack([power[:, band].sum(axis=1) for band in bands], axis=1)
    if len(levels) >= 4:
        levels = np.lib.stride_tricks.sliding_window_view(levels, 4, axis=0).mean(axis=-1)
    return 10 * np.log10(levels + 1e-10 * width)
