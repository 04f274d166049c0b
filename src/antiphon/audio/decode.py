"""Reads recordings of any form, rate and channel count as mono at a given rate: for training, evaluation and server.

A recording is a file, or embedded in something else (`Embedded`). Its content, not its name, decides what decodes it.
Every fault of a file is an `AudioError` with the file, the cause and the remedy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import soxr

from antiphon.audio.decoder import Decoder, open_decoder
from antiphon.audio.faults import TooLongError
from antiphon.audio.levels import Levels
from antiphon.audio.segment import bounds, mono_blocks, open_ended, span
from antiphon.audio.source import Source
from antiphon.errors import AudioError
from antiphon.types import Hertz, Seconds

Channel = int | Literal["mix"]
"""A channel's number, from 0, or the mean of all."""
END_SLACK: Seconds = 0.5
"""By which a segment may pass the end of its file; what lies beyond is cut."""
HIGHEST_RATE: Hertz = 48_000
"""Bounds memory: a recording may hold as many samples as the longest accepted one has at this rate."""
_ROUNDING: Seconds = 0.005
"""Ends that pass by less are times rounded to hundredths, and not worth a note."""


@dataclass(frozen=True)
class AudioInfo:
    """The header of an audio file."""

    rate: Hertz
    channels: int
    frames: int
    """Samples per channel."""
    format: str
    """The container: WAV, WAVEX, FLAC, OGG, MP3, MP4 …"""

    @property
    def seconds(self) -> Seconds:
        return self.frames / self.rate


@dataclass(frozen=True)
class FileClip:
    """A recording, or the part of it between two times. A `Clip`."""

    path: Source
    begin: Seconds | None = None
    """Start in seconds; None or -1 for the start of the file."""
    end: Seconds | None = None
    """End in seconds; None or -1 for the end of the file."""
    channel: Channel | None = "mix"
    """The channel to hear, from 0; "mix" or None for the mean of all."""
    end_slack: Seconds = END_SLACK
    """By which `end` may pass the end of the file; what lies beyond is cut."""

    @property
    def name(self) -> str:
        """The path. A segment adds its times in seconds as a media fragment, and a channel its number:
        `a.wav#t=1.5,3&channel=1`."""
        parts = []
        if open_ended(self.begin) is not None or open_ended(self.end) is not None:
            end = "" if open_ended(self.end) is None else f",{self.end:.10g}"
            parts.append(f"t={open_ended(self.begin) or 0:.10g}{end}")
        if isinstance(self.channel, int):
            parts.append(f"channel={self.channel}")
        return f"{self.path}#{'&'.join(parts)}" if parts else str(self.path)

    def load(self, rate: Hertz) -> np.ndarray:
        """Mono float32 waveform [samples] at `rate`. Raises `AudioError`, see `read_audio`."""
        return read_audio(self.path, rate, self.begin, self.end, channel=self.channel, end_slack=self.end_slack)

    def scan(self, levels: Levels | None = None) -> tuple[AudioInfo, Seconds]:
        """Decode the clip without keeping it; returns the file's header and the clip's length. Raises `AudioError`.

        What is heard is added to `levels`.
        """
        return scan(self.path, self.begin, self.end, channel=self.channel, end_slack=self.end_slack, levels=levels)

    def seconds(self) -> Seconds:
        """The clip's length from the file's header; decodes only where none states it. Raises `AudioError`."""
        info = probe(self.path)
        start, stop = span(info.frames, info.rate, str(self.path), self.begin, self.end, self.end_slack)
        return (stop - start) / info.rate

    def note(self, info: AudioInfo) -> str | None:
        """What to tell of a clip that is read all the same: that its end was cut. `info` is its file's."""
        beyond = (open_ended(self.end) or 0.0) - info.seconds
        if beyond <= _ROUNDING:
            return None
        return f"{self.name}: ends {beyond:.3g} s after its file, which lasts {info.seconds:.6g} s; it was cut there"


def probe(path: Source) -> AudioInfo:
    """The header of `path`. Raises `AudioError` if the file is missing, empty, without samples or not audio."""
    with open_decoder(path) as decoder:
        return _info(decoder)


def scan(
    path: Source,
    begin: Seconds | None = None,
    end: Seconds | None = None,
    *,
    channel: Channel | None = "mix",
    end_slack: Seconds = END_SLACK,
    levels: Levels | None = None,
) -> tuple[AudioInfo, Seconds]:
    """Decode `path`, or a segment of it, without keeping the samples; returns its header and the seconds decoded.

    Raises `AudioError` in the same cases as `read_audio`. Memory is bounded for files of any length.
    """
    with open_decoder(path) as decoder:
        start, stop = bounds(decoder, begin, end, end_slack)
        decoded = sum(map(len, mono_blocks(decoder, start, stop, channel, levels)))
        return _info(decoder), decoded / decoder.rate


def read_audio(
    path: Source,
    rate: Hertz,
    begin: Seconds | None = None,
    end: Seconds | None = None,
    *,
    channel: Channel | None = "mix",
    end_slack: Seconds = END_SLACK,
) -> np.ndarray:
    """Mono float32 waveform [samples] of `path` at `rate` Hz, resampled by soxr (HQ).

    `begin` and `end`, in seconds, select a segment, which is read by seeking; None or -1 leaves that side open. What
    passes the end of the file by at most `end_slack` is cut. `channel` is the one to read, from 0; by default all are
    averaged.

    Raises `AudioError` if the file is missing, empty, not audio, truncated or damaged, if it has no samples or
    samples that are NaN or infinite, and if the segment is not inside the file. Truncation is not detectable for an
    Ogg, AAC, AMR or MP3 file without a length header that is cut between two pages or frames.
    """
    with open_decoder(path) as decoder:
        start, stop = bounds(decoder, begin, end, end_slack)
        return _resampled(decoder, list(mono_blocks(decoder, start, stop, channel)), rate)


def read_recording(path: Path, rate: Hertz, max_seconds: Seconds) -> np.ndarray:
    """Mono float32 waveform [samples] at `rate` Hz of a recording that a stranger sent.

    Raises `TooLongError` for more than `max_seconds`, before all of it is in memory, and `AudioError` as `read_audio`
    does, and for forms that nobody records in.
    """
    with open_decoder(path, common_forms_only=True) as decoder:
        most = max_seconds * min(decoder.rate, HIGHEST_RATE)
        if decoder.stated is not None:
            _require_short(path, decoder.stated, most, max_seconds)
        blocks: list[np.ndarray] = []
        samples = 0
        for block in mono_blocks(decoder, 0, None, "mix"):
            samples += len(block)
            _require_short(path, samples, most, max_seconds)
            blocks.append(block)
        return _resampled(decoder, blocks, rate)


def _require_short(path: Path, samples: int, most: float, max_seconds: Seconds) -> None:
    if samples > most:
        raise TooLongError(f"{path}: longer than the {max_seconds:g} s that are accepted; send it in parts")


def _resampled(decoder: Decoder, blocks: Sequence[np.ndarray], rate: Hertz) -> np.ndarray:
    waveform = np.concatenate(blocks)
    if decoder.rate == rate:
        return waveform
    resampled = soxr.resample(waveform, decoder.rate, rate)
    if not len(resampled):
        raise AudioError(
            f"{decoder.name}: {len(waveform)} sample(s) at {decoder.rate} Hz leave none at {rate} Hz; remove the row"
        )
    return resampled


def _info(decoder: Decoder) -> AudioInfo:
    return AudioInfo(decoder.rate, decoder.channels, decoder.frames, decoder.format)
