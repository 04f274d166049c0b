"""Finds what containers state of their size, and with it files that were cut short.

Decoders read most truncated files without an error. But RIFF, RF64, W64, AIFF, AU, CAF, NIST and ASF files state how
many bytes of audio they have, MP4 boxes and Matroska elements their size, and an Ogg page its segments. (FLAC states
its samples and MP3 its frames, which the decoders check.)
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Callable
from typing import BinaryIO, NamedTuple

_STREAMED = 0x7FFFF000
"""Programs that write to a pipe do not know the size and write a value from here up to 2^32 - 1 instead."""
_SAMPLE_BY_SAMPLE = (1, 3, 6, 7)
"""Format tags of PCM, floats, A-law and μ-law, of which a block is one sample of all channels."""
_OGG_HEADER = 27
_LARGEST_OGG_PAGE = _OGG_HEADER + 255 + 255 * 255
_NIST_HEADER = 1024


class Riff(NamedTuple):
    """What a WAV file says of its audio."""

    format: int
    """The format tag of RFC 2361; that of the sub-format for WAVE_FORMAT_EXTENSIBLE."""
    block: int
    """Bytes of one sample of all channels; 1 for codings that have none."""
    stated: int | None
    """Bytes of audio; None if it does not know."""
    present: int


def missing_bytes(file: BinaryIO) -> int:
    """Bytes of audio that the container states but the open file lacks; 0 if complete or unknown.

    Less than one sample of all channels does not count, nor does a single byte: encoders miscount the padding.

    Sources: the RIFF chunk layout (Microsoft/IBM, 1991), EBU Tech 3306 (RF64), the Ogg page layout (RFC 3533, section
    6), ISO/IEC 14496-12 (boxes), RFC 8794 (EBML) and the ASF specification (section 3.2). An Ogg file cut exactly
    between two pages counts as complete: stopped recorders leave such files.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    magic = file.read(16)
    for at, first, find in _FORMS:
        if magic[at : at + len(first)] == first:
            try:
                return max(find(file, size), 0)
            except (OSError, OverflowError):  # A size that no file has.
                return 0
    return 0


def riff_audio(file: BinaryIO) -> Riff | None:
    """The audio of an open RIFF or RF64 file; None without a data chunk."""
    size = file.seek(0, os.SEEK_END)
    file.seek(12)
    tag = block = 0
    long: int | None = None
    while len(header := file.read(8)) == 8:
        name, length = struct.unpack("<4sI", header)
        begin = file.tell()
        if name == b"data":
            stated = long if length == 0xFFFFFFFF and long is not None else length
            unknown = length >= _STREAMED and stated == length
            return Riff(tag, block, None if unknown else stated, size - begin)
        if name == b"ds64":
            _, long = struct.unpack("<QQ", file.read(16).ljust(16, b"\0"))
        elif name == b"fmt ":
            content = file.read(26).ljust(26, b"\0")
            tag, block = struct.unpack("<H", content[:2])[0], struct.unpack("<H", content[12:14])[0]
            if tag == 0xFFFE:
                tag = struct.unpack("<H", content[24:26])[0]
            block = block if tag in _SAMPLE_BY_SAMPLE else 1
        file.seek(begin + length + length % 2)
    return None


def id3_size(head: bytes) -> int:
    """Bytes of the ID3v2 tag that begins here (ID3v2.4, section 3.1); 0 if there is none."""
    if head[:3] != b"ID3" or len(head) < 10 or max(head[6:10]) > 127:
        return 0
    length = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
    return 10 + length + (10 if head[5] & 0x10 else 0)


def _riff(file: BinaryIO, _size: int) -> int:
    found = riff_audio(file)
    if found is None or not found.stated:
        return 0
    return _beyond(found.stated - found.present, found.block)


def _beyond(missing: int, block: int) -> int:
    return 0 if missing < max(block, 2) else missing


def _w64(file: BinaryIO, size: int) -> int:
    file.seek(40)
    block = 0
    while len(header := file.read(24)) == 24:
        length, begin = struct.unpack("<Q", header[16:])[0], file.tell()
        if header[:4] == b"data":
            return _beyond(begin - 24 + length - size, block)
        if header[:4] == b"fmt ":
            block = struct.unpack("<H", file.read(14).ljust(14, b"\0")[12:14])[0]
        if length < 24:
            return 0
        file.seek(begin - 24 + length + -length % 8)
    return 0


def _aiff(file: BinaryIO, size: int) -> int:
    file.seek(12)
    block = 0
    while len(header := file.read(8)) == 8:
        name, length = struct.unpack(">4sI", header)
        begin = file.tell()
        if name == b"SSND":
            return _beyond(begin + length - size, block)
        if name == b"COMM":
            channels, _, bits = struct.unpack(">HIH", file.read(8).ljust(8, b"\0"))
            block = channels * -(-bits // 8)
        file.seek(begin + length + length % 2)
    return 0


def _au(file: BinaryIO, size: int) -> int:
    file.seek(4)
    offset, length = struct.unpack(">II", file.read(8).ljust(8, b"\0"))
    return 0 if length >= _STREAMED else _beyond(offset + length - size, 2)


def _caf(file: BinaryIO, size: int) -> int:
    file.seek(8)
    while len(header := file.read(12)) == 12:
        name, length = struct.unpack(">4sq", header)
        if length < 0:
            return 0
        if name == b"data" or file.tell() + length > size:
            return _beyond(file.tell() + length - size, 2)
        file.seek(length, os.SEEK_CUR)
    return 0


def _nist(file: BinaryIO, size: int) -> int:
    file.seek(0)
    header = file.read(_NIST_HEADER)
    lines = header.split(b"\n", 2)
    begin = int(lines[1]) if len(lines) > 1 and lines[1].strip().isdigit() else _NIST_HEADER
    fields = dict(re.findall(rb"^(\w+) -i (\d+)", header, re.MULTILINE))
    width = int(fields.get(b"channel_count", 1)) * int(fields.get(b"sample_n_bytes", 2))
    samples = int(fields.get(b"sample_count", 0))
    coding = re.search(rb"^sample_coding -s\d+ (\S+)", header, re.MULTILINE)
    if coding and b"shorten" in coding[1]:
        return 0
    return _beyond(begin + samples * width - size, width)


def _ogg(file: BinaryIO, size: int) -> int:
    file.seek(max(0, size - _LARGEST_OGG_PAGE))
    tail = file.read()
    page = tail[tail.rfind(b"OggS") :]
    if len(page) < _OGG_HEADER:
        return _OGG_HEADER - len(page)
    segments = page[26]
    table = page[_OGG_HEADER : _OGG_HEADER + segments]
    return _OGG_HEADER + segments + sum(table) - len(page)


def _mp4(file: BinaryIO, size: int) -> int:
    """Walks the outer boxes; the last one may reach to the end of the file (size 0)."""
    at = 0
    while at + 8 <= size:
        file.seek(at)
        length, name = struct.unpack(">I4s", file.read(8))
        if length == 1:
            length = struct.unpack(">Q", file.read(8).ljust(8, b"\0"))[0]
        if length < 8 or not name.isascii():
            return 0
        at += length
    return at - size


def _matroska(file: BinaryIO, size: int) -> int:
    """Walks the outer elements, and those of a segment of unknown size."""
    at = 0
    while at < size:
        file.seek(at)
        head = file.read(12)
        id_width = 9 - head[0].bit_length() if head[0] else 0
        if not 1 <= id_width <= 4 or len(head) <= id_width or not head[id_width]:
            return 0
        name, width = head[:id_width], 9 - head[id_width].bit_length()
        value = int.from_bytes(head[id_width : id_width + width], "big") & ((1 << 7 * width) - 1)
        inside = at + id_width + width
        if value == (1 << 7 * width) - 1:
            if name not in (b"\x18\x53\x80\x67", b"\x1f\x43\xb6\x75"):  # Segment, Cluster
                return 0
            at = inside
        else:
            at = inside + value
    return at - size


def _asf(file: BinaryIO, size: int) -> int:
    """The file properties object states the size of the whole file, unless it was broadcast."""
    file.seek(0)
    head = file.read(1 << 16)
    at = head.find(bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365"))
    if at < 0 or len(head) < at + 92:
        return 0
    stated, broadcast = struct.unpack("<Q", head[at + 40 : at + 48])[0], head[at + 88] & 1
    return 0 if broadcast else stated - size


_FORMS: tuple[tuple[int, bytes, Callable[[BinaryIO, int], int]], ...] = (
    (0, b"RIFF", _riff),
    (0, b"RF64", _riff),
    (0, b"riff", _w64),
    (0, b"FORM", _aiff),
    (0, b".snd", _au),
    (0, b"caff", _caf),
    (0, b"NIST_1A", _nist),
    (0, b"OggS", _ogg),
    (4, b"ftyp", _mp4),
    (0, b"\x1aE\xdf\xa3", _matroska),
    (0, b"\x30\x26\xb2\x75", _asf),
)
