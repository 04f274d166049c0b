"""Reads MPEG audio files (MP3) frame by frame, so that a segment costs the same wherever it is. FFmpeg decodes them."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from typing import Any, BinaryIO

import av
import numpy as np
from av.error import FFmpegError

from antiphon.audio.faults import damaged
from antiphon.audio.ffmpeg import samples_of
from antiphon.audio.mp3_index import Content, Index, index

_WARM_UP = 64
"""Frames decoded before a segment: a frame may draw on 511 bytes of those before it, and overlaps with the last."""
_PORTION = 256
"""Frames handed on at a time."""


class Mp3:
    """An open MP3 file. A `Decoder`."""

    def __init__(self, file: BinaryIO, name: str, known: Index | None = None) -> None:
        """`known` is its index, from an earlier reading. Raises `AudioError` for a file that is damaged."""
        self._content = _content(file)
        self.index = known or index(self._content, name)
        self.name, self.format = name, "MP3"
        self.rate, self.channels = self.index.rate, self.index.channels
        self.frames = int(self.index.starts[-1])
        self.stated: int | None = self.frames

    def close(self) -> None:
        if isinstance(self._content, mmap.mmap):
            self._content.close()

    def blocks(self, start: int, stop: int | None) -> Iterator[np.ndarray]:
        """Samples [n, channels] from `start` to `stop`; None for the end."""
        starts, first = self.index.starts, self.index.first
        stop = self.frames if stop is None else min(stop, self.frames)
        begin = int(np.searchsorted(starts, start, side="right")) - 1
        end = int(np.searchsorted(starts, stop, side="left"))
        portion: list[np.ndarray] = []
        for place, samples in self._decoded(begin, end):
            skipped = int(first[place])
            lead = skipped + max(start - int(starts[place]), 0)
            cut = samples[lead : skipped + min(int(starts[place + 1]), stop) - int(starts[place])]
            if portion and (len(portion) >= _PORTION or portion[0].shape[1] != cut.shape[1]):
                yield np.concatenate(portion)
                portion = []
            if len(cut):
                portion.append(cut)
        if portion:
            yield np.concatenate(portion)

    def _decoded(self, begin: int, end: int) -> Iterator[tuple[int, np.ndarray]]:
        """Frames `begin` to `end` with their samples [n, channels]; those before warm the decoder up."""
        decoder: Any = av.CodecContext.create(self.index.decoder, "r")
        for place in range(max(begin - _WARM_UP, 0), end):
            at = int(self.index.offsets[place])
            try:
                frames = decoder.decode(av.Packet(self._content[at : at + int(self.index.sizes[place])]))
                if place >= begin:
                    (frame,) = frames
                    samples = samples_of(frame)
                    if len(samples) != self.index.samples:
                        raise ValueError(f"{len(samples)} samples")
                    yield place, samples
            except (FFmpegError, ValueError) as error:
                if place >= begin and self.index.starts[place + 1] > self.index.starts[place]:
                    seconds = self.index.starts[place] / self.rate
                    cause = getattr(error, "strerror", None) or "incomplete"
                    raise damaged(self.name, f"the frame at {seconds:.6g} s does not decode ({cause})") from error


def _content(file: BinaryIO) -> Content:
    try:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError):  # In memory.
        file.seek(0)
        return file.read()
