"""Reads recordings (WAV, FLAC, OGG or MP3 of any rate and channel count) as mono at a given rate.

A recording is a file, or embedded in something else (`Embedded`).

Every fault of a file is an `AudioError` with the file, the cause and the remedy.
"""

from __future__ import annotations

import io
import math
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
import soxr

from antiphon.audio.container import missing_bytes
from antiphon.audio.embedded import Embedded
from antiphon.errors import AudioError
from antiphon.types import Hertz, Seconds

Source = str | Path | Embedded
_BLOCK = 1 << 20
"""Samples decoded at a time, over all channels, so that a bogus length in a header cannot exhaust memory."""
_ROUNDING = 0.005
"""Seconds by which a segment may exceed its file: manifests round times to hundredths."""
_MP3_FRAME = 1152
"""Samples in one MPEG-1 layer III frame; the length in an MP3 header is accurate to about one of them."""
_LENGTH_UNKNOWN = 1 << 62
_REENCODE = "convert it with: ffmpeg -i IN OUT.flac"


@dataclass(frozen=True)
class AudioInfo:
    """The header of an audio file."""

    rate: Hertz
    channels: int
    frames: int
    """Samples per channel."""
    format: str
    """libsndfile's name of the container: WAV, WAVEX, FLAC, OGG, MP3, ..."""

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

    @property
    def name(self) -> str:
        """The path; a segment adds its times in seconds as a media fragment, `a.wav#t=1.5,3`."""
        if _open_ended(self.begin) is None and _open_ended(self.end) is None:
            return str(self.path)
        begin = _open_ended(self.begin) or 0
        end = "" if _open_ended(self.end) is None else f",{self.end:.10g}"
        return f"{self.path}#t={begin:.10g}{end}"

    def load(self, rate: Hertz) -> np.ndarray:
        """Mono float32 waveform [samples] at `rate`. Raises `AudioError`, see `read_audio`."""
        return read_audio(self.path, rate, self.begin, self.end)

    def scan(self) -> tuple[AudioInfo, Seconds]:
        """Decode the clip without keeping it; returns the file's header and the clip's length. Raises `AudioError`."""
        return scan(self.path, self.begin, self.end)

    def seconds(self) -> Seconds:
        """The clip's length from the file's header, without decoding. Raises `AudioError`."""
        info = probe(self.path)
        start, stop = _span(info, self.path, self.begin, self.end)
        return (stop - start) / info.rate


def probe(path: Source) -> AudioInfo:
    """The header of `path`. Raises `AudioError` if the file is missing, empty, without samples or not audio."""
    with _opened(path) as file:
        return _info(file, path)


def scan(path: Source, begin: Seconds | None = None, end: Seconds | None = None) -> tuple[AudioInfo, Seconds]:
    """Decode `path`, or a segment of it, without keeping the samples; returns its header and the seconds decoded.

    Raises `AudioError` in the same cases as `read_audio`. Memory is bounded for files of any length.
    """
    with _opened(path) as file:
        info = _info(file, path)
        start, stop = _span(info, path, begin, end)
        return info, sum(map(len, _mono_blocks(file, path, start, stop))) / info.rate


def read_audio(path: Source, rate: Hertz, begin: Seconds | None = None, end: Seconds | None = None) -> np.ndarray:
    """Mono float32 waveform [samples] of `path` at `rate` Hz: channels averaged, resampled by soxr (HQ).

    `begin` and `end`, in seconds, select a segment, which is read by seeking; None or -1 leaves that side open. A
    segment may exceed the file by 5 ms (times rounded to hundredths).

    Raises `AudioError` if the file is missing, empty, not audio, truncated or damaged, if it has no samples or
    samples that are NaN or infinite, and if the segment is not inside the file. Truncation is not detectable for an
    MP3 without a length header and an Ogg file cut between two pages.
    """
    with _opened(path) as file:
        info = _info(file, path)
        start, stop = _span(info, path, begin, end)
        waveform = np.concatenate(list(_mono_blocks(file, path, start, stop)))
    if info.rate != rate:
        waveform = soxr.resample(waveform, info.rate, rate)
    if not len(waveform):
        raise AudioError(f"{path}: {stop - start} sample(s) at {info.rate} Hz leave none at {rate} Hz; remove the row")
    return waveform


@contextmanager
def _opened(path: Source) -> Iterator[soundfile.SoundFile]:
    head = _first_bytes(path)
    try:
        file = soundfile.SoundFile(_content(path) if isinstance(path, Embedded) else path)
    except soundfile.LibsndfileError as error:
        if _is_text(head):
            begins = head.decode("utf-8", errors="ignore")[:32]
            raise AudioError(
                f"{path}: holds text, not audio (it begins {begins!r}); replace it by the recording"
            ) from error
        raise AudioError(f"{path}: not audio that libsndfile can read ({_cause(error)}); {_REENCODE}") from error
    with file:
        yield file


def _content(path: Source) -> BinaryIO:
    return io.BytesIO(path.read()) if isinstance(path, Embedded) else Path(path).open("rb")


def _first_bytes(path: Source) -> bytes:
    try:
        if not isinstance(path, Embedded):
            mode = Path(path).stat().st_mode
            if not stat.S_ISREG(mode):
                kind = "a folder" if stat.S_ISDIR(mode) else "not a regular file"
                raise AudioError(f"{path}: is {kind}; give the path of an audio file")
        with _content(path) as file:
            head = file.read(512)
    except FileNotFoundError as error:
        raise AudioError(
            f"{path}: no such file; correct the path (a JSONL row's path is relative to the JSONL file)"
        ) from error
    except (OSError, UnicodeError) as error:
        cause = getattr(error, "strerror", None) or str(error)
        raise AudioError(f"{path!s:.200}: cannot be opened ({cause}); correct the path or its permissions") from error
    if not head:
        raise AudioError(f"{path}: the file is empty (0 bytes); copy or record it again")
    return head


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode("utf-8", errors="strict" if len(head) < 512 else "ignore")
    except UnicodeDecodeError:
        return False
    return len(text.encode()) > len(head) - 4 and all(c.isprintable() or c.isspace() for c in text)


def _info(file: soundfile.SoundFile, path: Source) -> AudioInfo:
    if file.frames >= _LENGTH_UNKNOWN:
        raise AudioError(f"{path}: the header does not state a length (it was streamed); {_REENCODE}")
    if file.frames <= 0:
        raise AudioError(f"{path}: the file has a header but no samples; record it again or remove the row")
    return AudioInfo(file.samplerate, file.channels, file.frames, file.format)


def _open_ended(time: Seconds | None) -> Seconds | None:
    return None if time == -1 else time


def _span(info: AudioInfo, path: Source, begin: Seconds | None, end: Seconds | None) -> tuple[int, int]:
    """The segment's first frame and the frame after its last."""
    first = _open_ended(begin) or 0.0
    last = _open_ended(end)
    for key, time in (("begin_time", first), ("end_time", last)):
        if time is not None and not (math.isfinite(time) and time >= 0):
            raise AudioError(f"{path}: {key} is {time:g}; give seconds from 0 up, or -1 for the whole file")
    segment = f"the segment from {first:.10g} s to {'the end' if last is None else f'{last:.10g} s'}"
    if last is not None and last <= first:
        raise AudioError(f"{path}: {segment} ends before it begins; correct begin_time or end_time")
    if first >= info.seconds or (last is not None and last > info.seconds + _ROUNDING):
        raise AudioError(
            f"{path}: {segment} is beyond the end of the file, which lasts {info.seconds:.6g} s; "
            "correct begin_time or end_time"
        )
    start = round(first * info.rate)
    stop = info.frames if last is None else min(round(last * info.rate), info.frames)
    if stop <= start:
        raise AudioError(f"{path}: {segment} holds no samples at {info.rate} Hz; remove the row")
    return start, stop


def _mono_blocks(file: soundfile.SoundFile, path: Source, start: int, stop: int) -> Iterator[np.ndarray]:
    """Yields frames `start` to `stop` as mono blocks. Raises if there are fewer or a sample is not finite."""
    position, most = start, max(_BLOCK // file.channels, 1)
    try:
        file.seek(start)
        while position < stop:
            block = file.read(min(most, stop - position), dtype="float32", always_2d=True)
            if not len(block):
                break
            _require_finite(block, position, file.samplerate, path)
            position += len(block)
            yield block[:, 0] if file.channels == 1 else block.mean(axis=1)
    except soundfile.LibsndfileError as error:
        raise _damaged(path, f"its {_length(file)} do not decode to the end ({_cause(error)})") from error
    if stop - position > (_MP3_FRAME if file.format == "MP3" else 0) or position == start:
        raise _damaged(path, f"its header states {_length(file)}, decoding ends at {position / file.samplerate:.6g} s")
    if stop == file.frames:
        with _content(path) as content:
            missing = missing_bytes(content)
        if missing:
            raise _damaged(path, f"it lacks the last {missing} of the bytes that its header states")


def _require_finite(block: np.ndarray, position: int, rate: Hertz, path: Source) -> None:
    finite = np.isfinite(block).all(axis=1)
    if not finite.all():
        first = (position + int(np.argmin(finite))) / rate
        raise AudioError(
            f"{path}: samples are NaN or infinite, the first at {first:.6g} s; export it again or remove the row"
        )


def _length(file: soundfile.SoundFile) -> str:
    return f"{file.frames / file.samplerate:.6g} s"


def _cause(error: soundfile.LibsndfileError) -> str:
    return error.error_string.removeprefix("Error : ").rstrip(".")


def _damaged(path: Source, cause: str) -> AudioError:
    return AudioError(f"{path}: truncated or damaged: {cause}; copy it again, or remove the row")
