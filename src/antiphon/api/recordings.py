"""Converts recordings in any form that users pass to encoded bytes."""

from __future__ import annotations

import os
import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from antiphon.audio.decode import FileClip
from antiphon.audio.embedded import SCHEME, Embedded, decode_uri, encode_uri
from antiphon.audio.encode import wav
from antiphon.audio.waveform import from_array
from antiphon.errors import AudioError
from antiphon.types import Clip, Hertz

RATE: Hertz = 16000
"""The sample rate for clips without a recording."""
FORMS = (
    'give a path, a data URI, encoded bytes, (waveform, rate), {"array": …, "sampling_rate": …} or {"bytes": …, '
    '"path": …}'
)
_FORMATS = [  # First bytes, file extension and media type.
    (b"RIFF", ".wav", "audio/wav"),
    (b"fLaC", ".flac", "audio/flac"),
    (b"OggS", ".ogg", "audio/ogg"),
    (b"ID3", ".mp3", "audio/mpeg"),
    (b"\xff\xfb", ".mp3", "audio/mpeg"),
    (b"\x1aE\xdf\xa3", ".webm", "audio/webm"),
]


def encoded(recording: Any) -> bytes:
    """The bytes of an audio file. A waveform becomes a mono 32-bit float WAV file, see `waveform.from_array`.

    `recording` is a path, a data URI, encoded bytes, a pair of a waveform and its rate in either order, a mapping of
    `datasets` ("array" and "sampling_rate", or "bytes" and "path"), a `Clip`, or a list of one of these.

    Raises `AudioError` for anything else, or a file that cannot be read.
    """
    if isinstance(recording, list) and len(recording) == 1:
        return encoded(recording[0])
    if isinstance(recording, bytes | bytearray):
        return bytes(recording)
    if isinstance(recording, str) and recording.startswith(SCHEME):
        return decode_uri(recording)
    if isinstance(recording, str | os.PathLike):
        return _read(Path(recording))
    if isinstance(recording, Mapping):
        return _encoded_cell(recording)
    if isinstance(recording, tuple) and len(recording) == 2:
        return wav(*from_array(recording))
    if isinstance(recording, Clip):
        return _encoded_clip(recording)
    if hasattr(recording, "get_all_samples"):  # What an audio column of `datasets` gives since version 4.
        return wav(*from_array(recording))
    raise AudioError(f"{reprlib.repr(recording)} is not a recording; {FORMS}")


def ending(content: bytes) -> str:
    """The file extension for this content, such as `.wav`; `.audio` if unknown."""
    return next((name for magic, name, _ in _FORMATS if content.startswith(magic)), ".audio")


def as_uri(recording: Any) -> str:
    """`recording` (see `encoded`) as a data URI."""
    content = encoded(recording)
    known = (media for magic, _, media in _FORMATS if content.startswith(magic))
    return encode_uri(content, next(known, "application/octet-stream"))


def _encoded_cell(cell: Mapping[str, Any]) -> bytes:
    if cell.get("bytes") is not None:
        return bytes(cell["bytes"])
    if cell.get("path") is not None and cell.get("array") is None:
        return _read(Path(cell["path"]))
    if cell.get("array") is not None:
        return wav(*from_array(cell))
    raise AudioError(f"a mapping with the keys {', '.join(map(repr, cell))} is not a recording; {FORMS}")


def _encoded_clip(clip: Clip) -> bytes:
    if not isinstance(clip, FileClip) or clip.name != str(clip.path):
        return wav(clip.load(RATE), RATE)
    return clip.path.read() if isinstance(clip.path, Embedded) else _read(Path(clip.path))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise AudioError(f"{path}: cannot be read ({error.strerror or error}); correct the path") from error
