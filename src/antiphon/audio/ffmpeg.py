"""FFmpeg's part of reading (PyAV): MP4/M4A, AAC, WebM, WMA, AMR, AC-3, and what libsndfile gets wrong.

FFmpeg is given an open file and the one demuxer for it, so that nothing in a file makes it open another or a network
address: playlists and the like are no format that it may use, and no protocol is allowed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, NamedTuple

import av
import numpy as np
from av.error import FFmpegError

from antiphon.audio.container import missing_bytes
from antiphon.audio.faults import damaged, no_samples, not_audio
from antiphon.audio.waveform import to_float
from antiphon.errors import AudioError
from antiphon.types import Hertz, Seconds

_WHITELISTS = {"mov": "mov,mp4,m4a,3gp,3g2,mj2", "matroska": "matroska,webm"}
"""Names of demuxers that have several."""
_STATE_LENGTH = ("mov",)
"""Demuxers whose containers always state how long the audio is; others are decoded once to know."""
_SEEKABLE = ("mov", "aac", "amr", "flac", "wav")
"""Demuxers whose times are exact to the sample."""
_READ_TO_THE_END = ("wav", "w64", "aiff", "au", "caf")
"""Demuxers whose last packet is as long as what is left; `missing_bytes` knows if that is all."""
_BARE = ("aac", "ac3", "amr")
"""Demuxers of files that are frames and nothing else."""
_OPUS_GRID = 120
"""Opus frames are multiples of 2.5 ms, which makes the exact position of one from a time in whole milliseconds."""
_WARM_UP: Seconds = 1.0
"""Decoded before a segment: decoders carry state from frame to frame."""
_SHORT: Seconds = 0.1
"""What decoding may lack of the stated length: containers count the encoder's delay."""


class Ffmpeg:
    """A recording that FFmpeg decodes. A `Decoder`. Raises `AudioError` if it cannot open it."""

    def __init__(
        self,
        file: BinaryIO,
        name: str,
        demuxer: str,
        format: str,
        counted: int | None = None,
        on_count: Callable[[int], None] = lambda frames: None,
    ) -> None:
        """`counted` are the frames that an earlier decoding found; `on_count` is told those that one finds."""
        self._content, self.name, self.format, self._demuxer = file, name, format, demuxer
        with self._opened() as (_, stream):
            context = stream.codec_context
            if context is None:
                raise not_audio(name, f"{format} with a coding that FFmpeg does not know")
            if not context.sample_rate or not context.channels:
                raise no_samples(name)
            self.rate, self.channels = context.sample_rate, context.channels
            self.stated = _stated(stream, self.rate) if demuxer in _STATE_LENGTH else None
        self._counted, self._on_count = counted, on_count

    def close(self) -> None:
        """Nothing stays open."""

    @property
    def frames(self) -> int:
        """Samples per channel: as stated, else counted by decoding the file."""
        if self.stated is None and self._counted is None:
            for _ in self.blocks(0, None):
                pass
        return self.stated or self._counted or 0

    def blocks(self, start: int, stop: int | None) -> Iterator[np.ndarray]:
        """Samples [n, channels] from `start` to `stop`; None for the end."""
        position: int | None = 0
        try:
            grid = self._grid(start)
            with self._opened() as (container, stream):
                if grid is not None:
                    early = start / self.rate - _WARM_UP
                    container.seek(int(early / stream.time_base) + grid.origin, stream=stream, backward=True)
                    position = None
                frames = self._decoded(container, stream)
                if grid is not None:
                    next(frames, None)  # FFmpeg cuts the first one after a seek as if it were the file's first.
                for frame in frames:
                    if position is None:
                        assert grid is not None
                        position = grid.nearest(frame, self.rate)
                    if self._demuxer == "flac":
                        self._require_gapless(frame, position)
                    samples = samples_of(frame)
                    begin, end = max(start - position, 0), len(samples) if stop is None else stop - position
                    if begin < min(end, len(samples)):
                        yield samples[begin:end]
                    position += len(samples)
                    if stop is not None and position >= stop:
                        return
        except (FFmpegError, ValueError, OSError) as error:
            if isinstance(error, AudioError):
                raise
            at = f" at {position / self.rate:.6g} s" if position else ""
            raise damaged(self.name, f"it does not decode{at} ({_cause(error)})") from error
        self._require_whole(position or 0, stop)
        if stop is None:
            self._counted = position or 0
            self._on_count(self._counted)

    def _require_gapless(self, frame: Any, position: int) -> None:
        """FFmpeg passes over damaged frames of FLAC, which are numbered."""
        stated = round(frame.pts * frame.time_base * self.rate) if frame.pts is not None else position
        if stated != position:
            seconds = position / self.rate
            raise damaged(self.name, f"{abs(stated - position)} samples at {seconds:.6g} s do not decode")

    def _decoded(self, container: Any, stream: Any) -> Iterator[Any]:
        """The frames. Raises `AudioError` for packets that are cut short, and for a rate that changes."""
        end = 0
        for packet in container.demux(stream):
            if packet.is_corrupt and self._demuxer not in _READ_TO_THE_END:
                raise damaged(self.name, "its last packet is cut short")
            if packet.size and packet.pos is not None:
                end = packet.pos + packet.size
            for frame in packet.decode():
                if frame.sample_rate != self.rate:
                    raise damaged(self.name, f"its rate changes from {self.rate} to {frame.sample_rate} Hz")
                yield frame
        if self._demuxer in _BARE and end:
            self._content.seek(end)
            rest = self._content.read()
            if rest and rest[:3] != b"TAG" and rest[:8] != b"APETAGEX":
                raise damaged(self.name, f"its last {len(rest)} bytes are no whole frame")

    def _require_whole(self, position: int, stop: int | None) -> None:
        stated = self.stated if stop is None else stop
        if stated is not None and position < stated - _SHORT * self.rate:
            raise damaged(
                self.name,
                f"its header states {stated / self.rate:.6g} s, decoding ends at {position / self.rate:.6g} s",
            )
        if stop is None and (missing := missing_bytes(self._content)):
            raise damaged(self.name, f"it lacks the last {missing} of the bytes that its header states")

    @contextmanager
    def _opened(self) -> Iterator[tuple[Any, Any]]:
        self._content.seek(0)
        options = {"format_whitelist": _WHITELISTS.get(self._demuxer, self._demuxer), "protocol_whitelist": "none"}
        try:
            container = av.open(_Input(self._content), format=self._demuxer, options=options, metadata_errors="replace")
        except (FFmpegError, ValueError, OSError) as error:
            raise damaged(self.name, f"{self.format} that does not open ({_cause(error)})") from error
        with container:
            if not container.streams.audio:
                raise AudioError(f"{self.name}: has no audio stream; record it again or remove the row")
            stream = container.streams.audio[0]
            if self._demuxer == "flac" and stream.codec_context:  # Damaged frames would be decoded to noise.
                stream.codec_context.options = {"err_detect": "crccheck+explode"}
            yield container, stream

    def _grid(self, start: int) -> _Grid | None:
        """How to know a place to seek to before `start`; None where it is as well to decode from the file's start."""
        if start < 2 * _WARM_UP * self.rate:
            return None
        with self._opened() as (container, stream):
            codec = stream.codec_context.name
            opus = codec == "opus" and self._demuxer == "matroska"
            exact = self._demuxer in _SEEKABLE and not (self._demuxer == "wav" and codec.startswith("mp"))
            first = next(self._decoded(container, stream), None) if opus or exact else None
            if first is None or first.pts is None or not stream.time_base:
                return None
            return _Grid(first.pts, first.samples % _OPUS_GRID, _OPUS_GRID) if opus else _Grid(first.pts, 0, 1)


class _Input:
    """A file as FFmpeg reads it: damaged files send it to places that are none, which PyAV would print."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.read, self.tell = file.read, file.tell

    def seek(self, offset: int, whence: int = 0) -> int:
        try:
            return self._file.seek(offset, whence)
        except (OSError, ValueError, OverflowError):
            return -1


class _Grid(NamedTuple):
    """Where the frames of a stream may begin."""

    origin: int
    """The time of the first sample, in the stream's units."""
    phase: int
    width: int

    def nearest(self, frame: Any, rate: Hertz) -> int:
        """The position of a frame's first sample. Raises `ValueError` if the frame has no time."""
        if frame.pts is None:
            raise ValueError("a frame without a time")
        position = round((frame.pts - self.origin) * frame.time_base * rate)
        return round((position - self.phase) / self.width) * self.width + self.phase


def _stated(stream: Any, rate: Hertz) -> int | None:
    return int(stream.duration * stream.time_base * rate) if stream.duration and stream.time_base else None


def samples_of(frame: Any) -> np.ndarray:
    """A decoded frame as float32 [n, channels]."""
    found = frame.to_ndarray()
    samples = found.T if frame.format.is_planar else found.reshape(-1, len(frame.layout.channels))
    return to_float(samples)


def _cause(error: BaseException) -> str:
    return getattr(error, "strerror", None) or str(error)
