"""Recordings as people have them: what libsndfile reads, and WebM, MP4/M4A, AAC, AMR and WMA through FFmpeg (PyAV)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from antiphon.audio.decode import probe, read_audio
from antiphon.errors import AudioError, MissingExtraError
from antiphon.types import Hertz, Seconds

HIGHEST_RATE = 48_000
"""A recording may hold as many samples as its longest length takes at this rate: memory is bounded by that."""
_FORMATS = "matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,aac,amr,asf"
"""All that FFmpeg may take a file for: playlists and other formats that open further files are none of them."""


class TooLongError(AudioError):
    """A recording is longer than what is accepted."""


def read_recording(path: Path, rate: Hertz, max_seconds: Seconds) -> np.ndarray:
    """Mono float32 waveform [samples] at `rate` Hz.

    Raises `TooLongError` for more than `max_seconds` before it is all in memory, `AudioError` for what is not audio,
    damaged or empty, and `MissingExtraError` where PyAV is needed and not there.
    """
    with path.open("rb") as file:
        head = file.read(16)
    if head and not (_for_ffmpeg(head) or _for_libsndfile(head)):
        raise AudioError(f"{path}: no recording (it begins {head[:8]!r}); send WAV, FLAC, MP3, OGG, WebM, MP4, AAC …")
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
    """Whether a file that begins so is of a format that libsndfile does not read."""
    adts = len(head) > 1 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0
    return adts or head[4:8] == b"ftyp" or head.startswith((b"\x1aE\xdf\xa3", b"#!AMR", b"\x30\x26\xb2\x75"))


def _for_libsndfile(head: bytes) -> bool:
    """Whether it is of a format that people record in. libsndfile reads two dozen more, which few have ever tested."""
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
