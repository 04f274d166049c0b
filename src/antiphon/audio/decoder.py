"""Opens a recording with what decodes it: libsndfile, FFmpeg, or FFmpeg frame by frame for MP3."""

from __future__ import annotations

import os
import threading
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any, BinaryIO, Protocol

import numpy as np
import soundfile
from cachetools import LRUCache

from antiphon.audio.container import missing_bytes
from antiphon.audio.embedded import Embedded
from antiphon.audio.faults import CONVERT, damaged, no_samples, not_audio
from antiphon.audio.ffmpeg import Ffmpeg
from antiphon.audio.mp3 import Mp3
from antiphon.audio.sndfile import SoundFile, cause
from antiphon.audio.source import Form, Source, form_of, opened, text_of
from antiphon.errors import AudioError
from antiphon.types import Hertz

_LENGTH_UNKNOWN = 1 << 62
_KEPT = 256
"""Files of which the index or the length is remembered, so that segments of one file do not read all of it each."""


class Decoder(Protocol):
    """An open recording."""

    name: str
    rate: Hertz
    channels: int
    format: str
    """The container: WAV, WAVEX, FLAC, OGG, MP3, MP4 …"""

    stated: int | None
    """Samples per channel, where they are known without decoding."""

    @property
    def frames(self) -> int:
        """Samples per channel."""
        ...

    def blocks(self, start: int, stop: int | None) -> Iterator[np.ndarray]:
        """Float32 samples [n, channels] from `start` to `stop`, None for the end. Raises `AudioError` on damage."""
        ...

    def close(self) -> None: ...


@contextmanager
def open_decoder(source: Source, common_forms_only: bool = False) -> Iterator[Decoder]:
    """Raises `AudioError` if the recording is missing, empty, without samples or not audio.

    With `common_forms_only`, forms that nobody records in are refused: libsndfile reads a dozen that are little tested.
    """
    with opened(source) as file:
        form = form_of(file)
        if common_forms_only and not form.common:
            raise AudioError(f"{source}: not a recording; send WAV, FLAC, MP3, OGG, WebM, MP4, AAC …")
        with closing(_decoder(file, source, form)) as decoder:
            yield decoder


def _decoder(file: BinaryIO, source: Source, form: Form) -> Decoder:
    if form.decoder == "soundfile":
        try:
            return _soundfile(file, source, form)
        except soundfile.LibsndfileError as error:
            begins = text_of(file)
            if begins is not None:
                raise AudioError(
                    f"{source}: holds text, not audio (it begins {begins!r}); replace it by the recording"
                ) from error
            if not form.demuxer:
                raise not_audio(source, cause(error)) from error
    name, key = str(source), _key(source, file)
    if form.decoder == "mp3":
        mp3 = Mp3(file, name, _known.get(key))
        _known.keep(key, mp3.index)
        return mp3
    return Ffmpeg(file, name, form.demuxer, form.name, _known.get(key), lambda frames: _known.keep(key, frames))


def _soundfile(file: BinaryIO, source: Source, form: Form) -> SoundFile:
    found = SoundFile(file, str(source))
    if found.frames >= _LENGTH_UNKNOWN:
        found.close()
        raise AudioError(f"{source}: the header does not state a length (it was streamed); {CONVERT}")
    if found.frames <= 0:
        found.close()
        if missing := missing_bytes(file):
            raise damaged(source, f"it lacks the last {missing} of the bytes that its header states")
        raise no_samples(source)
    return found


class _Known:
    """What it took decoding a file, or reading all its frames, to know: its length or index."""

    def __init__(self) -> None:
        self._kept: LRUCache[Any, Any] = LRUCache(_KEPT)
        self._lock = threading.Lock()

    def get(self, key: Any) -> Any:
        with self._lock:
            return self._kept.get(key)

    def keep(self, key: Any, value: Any) -> None:
        with self._lock:
            self._kept[key] = value


_known = _Known()


def _key(source: Source, file: BinaryIO) -> tuple[Any, ...]:
    if isinstance(source, Embedded):
        file.seek(0)
        content = file.read()
        return source.name, len(content), zlib.crc32(content)
    status = os.fstat(file.fileno())
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
