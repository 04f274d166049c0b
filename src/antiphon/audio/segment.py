"""Times of a segment as samples of its file."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from antiphon.audio.decoder import Decoder
from antiphon.audio.faults import no_samples
from antiphon.audio.levels import Levels
from antiphon.errors import AudioError
from antiphon.types import Hertz, Seconds


def open_ended(time: Seconds | None) -> Seconds | None:
    """A time, or None for that of the file: manifests write -1."""
    return None if time == -1 else time


def bounds(decoder: Decoder, begin: Seconds | None, end: Seconds | None, slack: Seconds) -> tuple[int, int | None]:
    """The segment's first sample and the one after its last, None for the end of the file.

    An `end` that passes the file's by at most `slack` is cut. Raises `AudioError` if it is not inside the file.
    """
    if open_ended(begin) in (None, 0) and open_ended(end) is None:
        return 0, None
    start, stop = span(decoder.frames, decoder.rate, decoder.name, begin, end, slack)
    return start, stop if stop < decoder.frames else None


def span(
    frames: int, rate: Hertz, name: str, begin: Seconds | None, end: Seconds | None, slack: Seconds
) -> tuple[int, int]:
    """The segment of a file of so many frames: its first and the one after its last. Raises `AudioError`."""
    first, last, seconds = open_ended(begin) or 0.0, open_ended(end), frames / rate
    for key, time in (("begin_time", first), ("end_time", last)):
        if time is not None and not (math.isfinite(time) and time >= 0):
            raise AudioError(f"{name}: {key} is {time:g}; give seconds from 0 up, or -1 for the whole file")
    segment = f"the segment from {first:.10g} s to {'the end' if last is None else f'{last:.10g} s'}"
    if last is not None and last <= first:
        raise AudioError(f"{name}: {segment} ends before it begins; correct begin_time or end_time")
    if first >= seconds or (last is not None and last > seconds + slack + 1e-9):
        raise AudioError(
            f"{name}: {segment} is beyond the end of the file, which lasts {seconds:.6g} s; "
            "correct begin_time or end_time"
        )
    start = round(first * rate)
    stop = frames if last is None else min(round(last * rate), frames)
    if stop <= start:
        raise AudioError(f"{name}: {segment} holds no samples at {rate} Hz; remove the row")
    return start, stop


def mono_blocks(
    decoder: Decoder, start: int, stop: int | None, channel: int | str | None, levels: Levels | None = None
) -> Iterator[np.ndarray]:
    """Samples `start` to `stop` as float32 [n], of one channel or the mean of all; they are added to `levels`.

    Raises `AudioError` if there are none, if one is not finite, or if there is no such channel.
    """
    position = start
    for block in decoder.blocks(start, stop):
        _require_finite(block, position, decoder)
        position += len(block)
        mono = _mono(block, channel, decoder.name)
        if levels:
            levels.add(mono[:, None] if isinstance(channel, int) else block, mono)
        yield mono
    if position == start:
        raise no_samples(decoder.name)


def _mono(block: np.ndarray, channel: int | str | None, name: str) -> np.ndarray:
    channels = block.shape[1]
    if not isinstance(channel, int):
        return block[:, 0] if channels == 1 else block.mean(axis=1)
    if not 0 <= channel < channels:
        raise AudioError(f"{name}: has {channels} channel(s), numbered from 0, so no channel {channel}; correct it")
    return block[:, channel]


def _require_finite(block: np.ndarray, position: int, decoder: Decoder) -> None:
    finite = np.isfinite(block).all(axis=1)
    if not finite.all():
        first = (position + int(np.argmin(finite))) / decoder.rate
        raise AudioError(
            f"{decoder.name}: samples are NaN or infinite, the first at {first:.6g} s; export it again or remove the "
            "row"
        )
