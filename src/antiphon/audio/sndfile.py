"""libsndfile's part of reading: WAV, FLAC, Ogg, AIFF, AU, CAF, W64, NIST and a dozen more."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
import soundfile

from antiphon.audio.container import missing_bytes
from antiphon.audio.faults import damaged

_BLOCK = 1 << 20
"""Samples decoded at a time, over all channels, so that a bogus length in a header cannot exhaust memory."""


class SoundFile:
    """A recording open in libsndfile. A `Decoder`. Raises `soundfile.LibsndfileError` if it cannot open it."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        file.seek(0)
        self._content, self.name = file, name
        self._file = soundfile.SoundFile(_descriptor(file), closefd=False)
        self.rate, self.channels = self._file.samplerate, self._file.channels
        self.frames: int = self._file.frames
        self.stated: int | None = self.frames
        self.format = self._file.format

    def close(self) -> None:
        self._file.close()

    def blocks(self, start: int, stop: int | None) -> Iterator[np.ndarray]:
        """Samples [n, channels] from `start` to `stop`; None for the end."""
        last = self.frames if stop is None else stop
        position, most = start, max(_BLOCK // self.channels, 1)
        try:
            if start:
                self._file.seek(start)
            while position < last:
                block = self._file.read(min(most, last - position), dtype="float32", always_2d=True)
                if not len(block):
                    break
                position += len(block)
                yield block
        except soundfile.LibsndfileError as error:
            raise damaged(self.name, f"its {self._length()} do not decode to the end ({cause(error)})") from error
        if last > position:
            raise damaged(
                self.name, f"its header states {self._length()}, decoding ends at {position / self.rate:.6g} s"
            )
        if last == self.frames and (missing := missing_bytes(self._content)):
            raise damaged(self.name, f"it lacks the last {missing} of the bytes that its header states")

    def _length(self) -> str:
        return f"{self.frames / self.rate:.6g} s"


def _descriptor(file: BinaryIO) -> int | BinaryIO:
    """A file's descriptor, as libsndfile would guess a format from a name; bytes in memory have none."""
    try:
        return file.fileno()
    except OSError:
        return file


def cause(error: soundfile.LibsndfileError) -> str:
    return error.error_string.removeprefix("Error : ").rstrip(".")
