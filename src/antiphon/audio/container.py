"""Detects truncated WAV and Ogg files.

libsndfile reads a truncated WAV or Ogg file without an error. But a RIFF data chunk states its size, and an Ogg
page its segments. (FLAC and MP3 state their length in frames, which the decoder checks itself.)
"""

from __future__ import annotations

import os
import struct
from typing import BinaryIO

_STREAMED = 0x7FFFF000
"""Programs that write to a pipe do not know the size and write a value from here up to 2^32 - 1 instead."""
_OGG_HEADER = 27
_LARGEST_OGG_PAGE = _OGG_HEADER + 255 + 255 * 255


def missing_bytes(file: BinaryIO) -> int:
    """Bytes of audio that the container states but the open file lacks; 0 if complete or unknown.

    Sources: the RIFF chunk layout (Microsoft/IBM, 1991) and the Ogg page layout (RFC 3533, section 6). An Ogg
    file cut exactly between two pages counts as complete: stopped recorders leave such files.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    magic = file.read(12)
    if magic[:4] == b"RIFF" and magic[8:] == b"WAVE":
        return _missing_from_riff(file, size)
    if magic[:4] == b"OggS":
        return _missing_from_ogg(file, size)
    return 0


def _missing_from_riff(file: BinaryIO, file_size: int) -> int:
    while len(header := file.read(8)) == 8:
        name, size = struct.unpack("<4sI", header)
        if name == b"data":
            return 0 if size >= _STREAMED else max(0, file.tell() + size - file_size)
        file.seek(size + size % 2, os.SEEK_CUR)
    return 0


def _missing_from_ogg(file: BinaryIO, file_size: int) -> int:
    file.seek(max(0, file_size - _LARGEST_OGG_PAGE))
    tail = file.read()
    page = tail[tail.rfind(b"OggS") :]
    if len(page) < _OGG_HEADER:
        return _OGG_HEADER - len(page)
    segments = page[26]
    table = page[_OGG_HEADER : _OGG_HEADER + segments]
    return max(0, _OGG_HEADER + segments + sum(table) - len(page))
