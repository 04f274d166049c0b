"""What a recording is read from: a file, or bytes that are embedded in something else; and the form of its content."""

from __future__ import annotations

import io
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from antiphon.audio.container import id3_size, riff_audio
from antiphon.audio.embedded import Embedded
from antiphon.errors import AudioError

Source = str | Path | Embedded
_HEAD = 512
_NOT_FOR_LIBSNDFILE = (0x31, 0x50, 0x55)
"""WAVE format tags (RFC 2361) that libsndfile gets wrong: GSM 6.10, MPEG layer II and MPEG layer III."""


@dataclass(frozen=True)
class Form:
    """The form of a recording's content, by its first bytes, and what decodes it."""

    name: str
    """As libsndfile or FFmpeg calls it: WAV, FLAC, MP3, mov …; empty if unknown."""
    decoder: Literal["soundfile", "ffmpeg", "mp3"] = "soundfile"
    demuxer: str = ""
    """FFmpeg's only demuxer for it; empty where FFmpeg is no help."""

    common: bool = True
    """Whether people record in it. libsndfile reads more, which are little tested."""


UNKNOWN = Form("", common=False)
_FIRST_BYTES: tuple[tuple[int, bytes, Form], ...] = (
    (0, b"RIFX", Form("WAV", demuxer="wav")),
    (0, b"OggS", Form("OGG", demuxer="ogg")),
    (0, b"riff\x2e\x91\xcf\x11", Form("W64", demuxer="w64")),
    (0, b"FORM", Form("AIFF", demuxer="aiff")),
    (0, b"caff", Form("CAF", demuxer="caf")),
    (0, b".snd", Form("AU", demuxer="au")),
    (0, b"NIST_1A", Form("NIST", common=False)),
    (4, b"ftyp", Form("MP4", "ffmpeg", "mov")),
    (4, b"moov", Form("MP4", "ffmpeg", "mov")),
    (4, b"mdat", Form("MP4", "ffmpeg", "mov")),
    (0, b"\x1aE\xdf\xa3", Form("WEBM", "ffmpeg", "matroska")),
    (0, b"#!AMR", Form("AMR", "ffmpeg", "amr")),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", Form("WMA", "ffmpeg", "asf")),
    (0, b"\x0bw", Form("AC3", "ffmpeg", "ac3")),
    (0, b"FLV\x01", Form("FLV", "ffmpeg", "flv")),
)


def opened(source: Source) -> BinaryIO:
    """The content, from its start. Raises `AudioError` if there is no such file, it is not a file, or it is empty."""
    try:
        if isinstance(source, Embedded):
            file = io.BytesIO(source.read())
            size = len(file.getbuffer())
        else:
            file = Path(source).open("rb", buffering=0)  # libsndfile reads through the same descriptor. # noqa: SIM115
            status = os.fstat(file.fileno())
            size = status.st_size
            if not stat.S_ISREG(status.st_mode):
                file.close()
                raise AudioError(f"{source}: is not a regular file; give the path of an audio file")
    except IsADirectoryError as error:
        raise AudioError(f"{source}: is a folder; give the path of an audio file") from error
    except FileNotFoundError as error:
        raise AudioError(
            f"{source}: no such file; correct the path (a JSONL row's path is relative to the JSONL file)"
        ) from error
    except (OSError, UnicodeError, ValueError) as error:
        if isinstance(error, AudioError):
            raise
        cause = getattr(error, "strerror", None) or str(error)
        raise AudioError(f"{source!s:.200}: cannot be opened ({cause}); correct the path or its permissions") from error
    if not size:
        file.close()
        raise AudioError(f"{source}: the file is empty (0 bytes); copy or record it again")
    return file


def form_of(file: BinaryIO) -> Form:
    """The form of an open recording, by its content alone: names lie. Leaves the file at its start."""
    file.seek(0)
    head = file.read(_HEAD)
    tagged = head[:3] == b"ID3"
    if tagged and (tag := id3_size(head)):
        file.seek(tag)
        head = file.read(_HEAD)
    form = _form(head, file, tagged)
    file.seek(0)
    return form


def _form(head: bytes, file: BinaryIO, tagged: bool) -> Form:
    if head[:4] in (b"RIFF", b"RF64") and head[8:12] == b"WAVE":
        return _wav(file)
    if head[:4] == b"fLaC":
        # STREAMINFO: 36 bits of samples follow 20 bits of rate, 3 of channels and 5 of bits a sample; 0 is unknown.
        unknown = len(head) < 26 or not (head[21] & 0x0F or any(head[22:26]))
        return Form("FLAC", "ffmpeg" if unknown else "soundfile", "flac")
    found = next((form for at, magic, form in _FIRST_BYTES if head[at : at + len(magic)] == magic), None)
    if found:
        return found
    if len(head) > 1 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0:
        return Form("AAC", "ffmpeg", "aac")
    # libsndfile must not be given MPEG audio: it guesses lengths, and its decoder writes to the terminal.
    mpeg = len(head) > 1 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0
    return Form("MP3", "mp3") if mpeg or tagged else UNKNOWN


def _wav(file: BinaryIO) -> Form:
    found = riff_audio(file)
    if found is None:
        return Form("WAV", demuxer="wav")
    odd = found.format in _NOT_FOR_LIBSNDFILE or (found.stated == 0 and found.present > 1)
    return Form("WAV", "ffmpeg" if odd else "soundfile", "wav")


def text_of(file: BinaryIO) -> str | None:
    """The beginning of a file that holds text; None if it does not."""
    file.seek(0)
    head = file.read(_HEAD)
    try:
        text = head.decode("utf-8", errors="strict" if len(head) < _HEAD else "ignore")
    except UnicodeDecodeError:
        return None
    is_text = len(text.encode()) > len(head) - 4 and all(c.isprintable() or c.isspace() for c in text)
    return text[:32] if is_text else None
