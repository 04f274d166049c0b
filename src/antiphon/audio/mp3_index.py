"""Where the frames of an MPEG audio file (MP3) are, and which of their samples are audio.

Frames are found by their headers (ISO/IEC 11172-3, section 2.4.1.3). Only they tell how long a file is: without a Xing
or VBRI header nothing else does, and such a header describes the first of files that were put one after the other.
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from antiphon.audio.container import id3_size
from antiphon.audio.faults import damaged, not_audio
from antiphon.types import Hertz

Content = bytes | mmap.mmap
_DECODERS = {3: "mp1float", 2: "mp2float", 1: "mp3float"}
_SAMPLES = {3: (384, 384), 2: (1152, 1152), 1: (1152, 576)}
"""In a frame, by layer: of MPEG 1, and of its half rates."""
_KBITS = {
    (1, 3): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 1): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 3): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
"""By MPEG version (1, or 2 for 2 and 2.5) and layer bits (3 is layer I); layer III of MPEG 2 is as layer II."""
_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
_DECODER_DELAY = 529
"""Samples by which every decoder is late: 528 of the filter bank and one of the overlap."""
_LAME_DELAY = 576 + _DECODER_DELAY
_SEARCH = 1 << 16
"""Bytes before the first frame, apart from tags."""


def _header_tables() -> tuple[list[int], dict[int, Hertz]]:
    """The length of a frame, and its sampling rate, by the second and third byte of its header; 0 if they are none."""
    lengths, rates = [0] * 65536, {}
    for second in range(0xE0, 0x100):
        version, layer = second >> 3 & 3, second >> 1 & 3
        if version == 1 or layer == 0:
            continue
        kbits = _KBITS[(1 if version == 3 else 2, layer if version == 3 or layer == 3 else 2)]
        for third in range(256):
            index, place, padding = third >> 4, third >> 2 & 3, third >> 1 & 1
            if not 1 <= index <= 14 or place == 3:
                continue
            rate = _RATES[version][place]
            samples = _SAMPLES[layer][version != 3]
            slot = 4 if layer == 3 else 1
            lengths[second << 8 | third] = (samples // 8 * 1000 * kbits[index - 1] // rate // slot + padding) * slot
            rates[second << 8 | third] = rate
    return lengths, rates


_LENGTH, _RATE = _header_tables()


@dataclass(frozen=True)
class Index:
    """The frames of a file, F in number."""

    offsets: np.ndarray
    """[F] in bytes."""
    sizes: np.ndarray
    """[F] in bytes."""
    first: np.ndarray
    """[F] the first sample of each frame that counts; those before it are an encoder's delay."""
    starts: np.ndarray
    """[F + 1] samples that count before each frame, and in all."""
    rate: Hertz
    channels: int
    samples: int
    """In a frame, per channel."""
    decoder: str
    """FFmpeg's."""


class _Header(NamedTuple):
    """A Xing or VBRI header, in a frame that is no audio."""

    frame: int
    stated: int | None
    """Frames of audio that follow."""
    delay: int
    """Samples before the audio."""
    padding: int
    """Samples after it."""


def index(content: Content, name: str) -> Index:
    """Find the frames. Raises `AudioError` if there are none, fewer than a header states, or other bytes between them.

    A header counts for the frames up to the next one. Without one, a stream that LAME began has LAME's usual delay.
    """
    begin = _first_frame(content, name)
    second, third = content[begin + 1], content[begin + 2]
    layer, version, rate = second >> 1 & 3, second >> 3 & 3, _RATE[second << 8 | third]
    samples = _SAMPLES[layer][version != 3]
    offsets = np.array(_walk(content, begin, name), dtype=np.int64)
    sizes = np.array([_LENGTH[content[at + 1] << 8 | content[at + 2]] for at in offsets.tolist()], dtype=np.int64)
    headers = _headers(content, offsets, version)
    delay = _LAME_DELAY if layer == 1 and _begins_as_lame_does(content, begin, version) else 0
    parts = [] if headers and headers[0].frame == 0 else [_Header(-1, None, delay, 0)]
    parts += headers
    first, kept = np.zeros(len(offsets), dtype=np.int64), np.zeros(len(offsets), dtype=np.int64)
    for part, after in zip(parts, [*(one.frame for one in parts[1:]), len(offsets)], strict=True):
        inside = slice(part.frame + 1, after)
        padding = _require_all(part, after - part.frame - 1, samples / rate, name)
        first[inside], kept[inside] = _trimmed(after - part.frame - 1, samples, part.delay, padding)
    starts = np.concatenate([[0], np.cumsum(kept)])
    channels = 1 if content[begin + 3] >> 6 == 3 else 2
    return Index(offsets, sizes, first, starts, rate, channels, samples, _DECODERS[layer])


def _require_all(part: _Header, found: int, seconds: float, name: str) -> int:
    """The padding of a part with `found` frames of `seconds` each; none where frames without a header follow it."""
    if part.stated is None:
        return part.padding
    if found < part.stated - 1:
        raise damaged(name, f"its header states {part.stated * seconds:.6g} s, it ends at {found * seconds:.6g} s")
    return part.padding if found <= part.stated + 1 else 0


def _trimmed(frames: int, samples: int, delay: int, padding: int) -> tuple[np.ndarray, np.ndarray]:
    """For each frame of a part, the first sample that counts, and how many do."""
    before = np.arange(frames) * samples
    first = np.clip(delay - before, 0, samples)
    end = np.clip(frames * samples - padding - before, 0, samples)
    return first, np.maximum(end - first, 0)


def _first_frame(content: Content, name: str) -> int:
    begin = 0
    while tag := id3_size(content[begin : begin + 10]):
        begin += tag
    end = min(begin + _SEARCH, len(content) - 4)
    at = content.find(b"\xff", begin)
    while 0 <= at <= end:
        length = _LENGTH[content[at + 1] << 8 | content[at + 2]]
        if length and (at + length == len(content) or _alike(content, at, at + length) or _tag(content, at + length)):
            if content[begin:at].strip(b"\0"):
                raise damaged(name, f"the bytes from {begin} to {at} are no MPEG audio frames")
            return at
        at = content.find(b"\xff", at + 1)
    raise not_audio(name, "no MPEG audio frames where they should begin")


def _alike(content: Content, one: int, other: int) -> bool:
    """Whether the header of the frame at `other` fits that at `one`: version, layer and rate."""
    if other + 4 > len(content) or content[other] != 0xFF:
        return False
    second, third = content[other + 1], content[other + 2]
    return bool(
        _LENGTH[second << 8 | third]
        and not (second ^ content[one + 1]) & 0xFE
        and not (third ^ content[one + 2]) & 0x0C
    )


def _walk(content: Content, begin: int, name: str) -> list[int]:
    """The offsets of all frames. Raises `AudioError` at bytes that are neither frames nor tags."""
    offsets: list[int] = []
    at, size, lengths = begin, len(content), _LENGTH
    kind = content[begin + 1] & 0xFE, content[begin + 2] & 0x0C
    while at + 4 <= size:
        second, third = content[at + 1], content[at + 2]
        length = lengths[second << 8 | third]
        if content[at] == 0xFF and length and (second & 0xFE, third & 0x0C) == kind:
            offsets.append(at)
            at += length
        elif tag := _tag(content, at):
            at += tag
        else:
            raise damaged(name, f"the bytes from {at} are no MPEG audio frame like those before them")
    if at > size and offsets:
        raise damaged(name, f"it lacks the last {at - size} bytes of its last frame")
    return offsets


def _tag(content: Content, at: int) -> int:
    """Bytes of the tag here: ID3v1 (128 bytes), ID3v2, APEv2 or Lyrics3; 0 if it is none."""
    head = content[at : at + 32]
    if head[:3] == b"TAG":
        return min(128, len(content) - at)
    if head[:8] == b"APETAGEX":
        flags = int.from_bytes(head[20:24], "little")
        return int.from_bytes(head[12:16], "little") + (32 if flags & 1 << 29 else 0)
    if head[:11] == b"LYRICSBEGIN":
        end = content.find(b"LYRICS200", at)
        return end + 9 - at if end > 0 else 0
    if not any(head):
        rest = content[at:]
        return len(rest) if not rest.strip(b"\0") else 0
    return id3_size(head)


def _headers(content: Content, offsets: np.ndarray, version: int) -> list[_Header]:
    """Those of the file, in order. Xing's is by Xing Technology (1999), the delays are LAME's extension of it, and VBRI
    is Fraunhofer's."""
    found = []
    for magic in (b"Xing", b"Info", b"VBRI"):
        at = content.find(magic)
        while at >= 0:
            frame = int(np.searchsorted(offsets, at, side="right")) - 1
            if frame >= 0 and at - offsets[frame] == _header_place(content[int(offsets[frame]) + 3], version, magic):
                found.append(_header(content, at, frame, magic))
            at = content.find(magic, at + 1)
    return sorted(found)


def _header_place(fourth: int, version: int, magic: bytes) -> int:
    """Where a header is in its frame: after the side information, which VBRI takes to be that of stereo MPEG 1."""
    if magic == b"VBRI":
        return 36
    mono = fourth >> 6 == 3
    return 4 + ((17 if mono else 32) if version == 3 else (9 if mono else 17))


def _header(content: Content, at: int, frame: int, magic: bytes) -> _Header:
    if magic == b"VBRI":
        return _Header(frame, int.from_bytes(content[at + 14 : at + 18], "big") or None, 0, 0)
    flags = int.from_bytes(content[at + 4 : at + 8], "big")
    at += 8
    stated = int.from_bytes(content[at : at + 4], "big") if flags & 1 else 0
    at += 4 * (flags & 1) + 4 * (flags >> 1 & 1) + 100 * (flags >> 2 & 1) + 4 * (flags >> 3 & 1)
    if content[at : at + 4] not in (b"LAME", b"Lavf", b"Lavc"):
        return _Header(frame, stated or None, 0, 0)
    delays = int.from_bytes(content[at + 21 : at + 24], "big")
    padding = max((delays & 0xFFF) - _DECODER_DELAY, 0)
    return _Header(frame, stated or None, (delays >> 12) + _DECODER_DELAY, padding)


def _begins_as_lame_does(content: Content, begin: int, version: int) -> bool:
    """Whether this is the start of a stream by LAME, which has its usual delay: not one cut out of the middle.

    LAME writes its name into unused bytes. The first frame of a stream draws on none before it.
    """
    side = begin + (4 if content[begin + 1] & 1 else 6)
    draws_on = content[side] << 1 | content[side + 1] >> 7 if version == 3 else content[side]
    return draws_on == 0 and content.find(b"LAME3.", begin) >= 0
