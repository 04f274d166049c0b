"""Reads uploaded recordings: libsndfile's formats, and WebM, MP4/M4A, AAC, AMR and WMA through FFmpeg (PyAV)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from antiphon.audio.decode import probe, read_audio
from antiphon.errors import AudioError, MissingExtraError
from antiphon.types import Hertz, Seconds

HIGHEST_RATE = 48_000
"""Bounds memory: a recording may hold as many samples as the maximum length has at this rate."""
_FORMATS = "matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,aac,amr,asf"
"""The formats that FFmpeg may use, without playlists and others that open further files."""


class TooLongError(AudioError):
    """A recording is longer than accepted."""


def read_recording(path: Path, rate: Hertz, max_seconds: Seconds) -> np.ndarray:
    """Mono float32 waveform [samples] at `rate` Hz.

    Raises `TooLongError` for more than `max_seconds`, before all of it is in memory, `AudioError` for files that are
    damaged, empty or not audio, and `MissingExtraError` if PyAV is needed but not installed.
    """
    with path.open("rb") as file:
        head = file.read(16)
    if head and not (_for_ffmpeg(head) or _for_libsndfile(head)):
        raise AudioError(
            f"{path}: not a recording (it begins {head[:8]!r}); send WAV, FLAC, MP3, OGG, WebM, MP4, AAC …"
        )
    if _for_ffmpeg(head):
        blocks, samples = [], 0
        for block in _decoded(path, rate):
            samples += len(block)
            _require_short(path, samples / rate, max_seconds)
            blocks.append(block)
        if not samples:
            raise AudioError(f"{path}: holds no audio; record it again")
        return _finite(path, np.concatenate(blocks))
    info = probe(path)
    _require_short(path, max(info.seconds, info.frames / HIGHEST_RATE), max_seconds)
    return read_audio(path, rate)


def _for_ffmpeg(head: bytes) -> bool:
    """Whether FFmpeg must read a file with this head, as libsndfile cannot."""
    adts = len(head) > 1 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0
    return adts or head[4:8] == b"ftyp" or head.startswith((b"\x1aE\xdf\xa3", b"#!AMR", b"\x30\x26\xb2\x75"))


def _for_libsndfile(head: bytes) -> bool:
    """Whether it is a common recording format. libsndfile reads two dozen more, which are little tested."""
    mp3 = len(head) > 1 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0
    return mp3 or head.startswith(
        (b"RIFF", b"RIFX", b"RF64", b"fLaC", b"OggS", b"ID3", b"FORM", b"caff", b".snd", b"riff")
    )


def _decoded(path: Path, rate: Hertz) -> Iterator[np.ndarray]:
    """The first audio stream as mono blocks."""
    try:
        import av
        from av.error import FFmpegError
    except ImportError as error:
        raise MissingExtraError("reading WebM, MP4 and AAC", "av", "serve") from error
    try:
        with av.open(str(path), options={"format_whitelist": _FORMATS, "protocol_whitelist": "file"}) as container:
            if not container.streams.audio:
                raise AudioError(f"{path}: has no audio stream; record it again")
            resampler = av.AudioResampler(format="flt", layout="mono", rate=rate)
            for frame in container.decode(container.streams.audio[0]):
                for block in resampler.resample(frame):
                    yield block.to_ndarray()[0]
            for block in resampler.resample(None):
                yield block.to_ndarray()[0]
    except (FFmpegError, ValueError, OSError) as error:
        if isinstance(error, AudioError):
            raise
        cause = getattr(error, "strerror", None) or str(error)
        raise AudioError(f"{path}: truncated or damaged ({cause}); record it again") from error


def _require_short(path: Path, seconds: Seconds, max_seconds: Seconds) -> None:
    if seconds > max_seconds:
        raise TooLongError(f"{path}: longer than the {max_seconds:g} s that are accepted; send it in parts")


def _finite(path: Path, waveform: np.ndarray) -> np.ndarray:
    if not np.isfinite(waveform).all():
        raise AudioError(f"{path}: samples are NaN or infinite; export it again")
    return waveform
