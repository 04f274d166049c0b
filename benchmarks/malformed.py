"""Malformed requests of many kinds, as bytes for a socket: each a function of a random generator alone."""

from __future__ import annotations

import base64
import gzip
import io
import json
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import av
import numpy as np
import soundfile

RATE = 16000
Rng = np.random.Generator
SOUNDFILE = ("WAV", "FLAC", "OGG", "MP3", "AIFF")
FFMPEG = {"webm": "libopus", "ipod": "aac", "adts": "aac", "asf": "wmav2"}


@dataclass(frozen=True)
class Attack:
    """What to send, piece by piece, with a pause in seconds after each."""

    kind: str
    pieces: Sequence[tuple[bytes, float]]
    leaves: bool = False
    """Whether the client hangs up instead of waiting for an answer."""


@cache
def clip(form: str) -> bytes:
    """A quarter of a second of noise in a container."""
    swell = np.sin(np.linspace(0, 2 * np.pi, RATE // 4))  # Steady noise has no words.
    waveform = (0.1 * swell * np.random.default_rng(0).standard_normal(RATE // 4)).astype(np.float32)
    file = io.BytesIO()
    if form in SOUNDFILE:
        soundfile.write(file, waveform, RATE, format=form)
        return file.getvalue()
    with av.open(file, "w", format=form) as output:
        stream = output.add_stream(FFMPEG[form], rate=48000)
        stream.bit_rate = 64_000
        frame = av.AudioFrame.from_ndarray(waveform[None], format="flt", layout="mono")
        frame.sample_rate = RATE
        resampler = av.AudioResampler("fltp", "mono", 48000, frame_size=stream.codec_context.frame_size or 960)
        for piece in (*resampler.resample(frame), *resampler.resample(None), None):
            for packet in stream.encode(piece):
                output.mux(packet)
    return file.getvalue()


def request(path: str, body: bytes, content_type: bytes, headers: bytes = b"", announced: object = None) -> bytes:
    length = len(body) if announced is None else announced
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\nContent-Type: ".encode()
    return head + content_type + b"\r\n" + headers + b"\r\n" + body


def form(*parts: tuple[bytes, bytes]) -> bytes:
    """A multipart body of (what stands after `form-data; `, content)."""
    each = (b"--b\r\nContent-Disposition: form-data; " + head + b"\r\n\r\n" + body + b"\r\n" for head, body in parts)
    return b"".join(each) + b"--b--\r\n"


def upload(content: bytes, *fields: tuple[bytes, bytes], path: str = "/asr") -> bytes:
    body = form((b'name="file"; filename="clip"', content), *fields)
    return request(path, body, b"multipart/form-data; boundary=b")


def damaged(content: bytes, rng: Rng) -> bytes:
    """`content`, broken in one of several ways."""
    data, how = bytearray(content), rng.integers(7)
    place = int(rng.integers(len(data)))
    if how == 0:
        return bytes(data[:place])
    if how in (1, 2):  # Bits anywhere, or in the header.
        for at in rng.integers(0, len(data) if how == 1 else min(len(data), 200), 8):
            data[at] = rng.integers(256)
    elif how == 3:
        data[place : place + int(rng.integers(1, 200))] = rng.bytes(int(rng.integers(0, 400)))
    elif how == 4:
        data[int(rng.integers(4, 64)) :] = rng.bytes(800)
    elif how == 5:  # An extreme number, where headers have theirs.
        at, size = int(rng.integers(min(len(data) - 8, 250))), int(rng.choice([1, 2, 4, 8]))
        data[at : at + size] = bytes([int(rng.choice([0, 1, 0x7F, 0x80, 0xFF]))]) * size
    else:
        data[place:place] = data[place // 2 : place] * int(rng.integers(1, 20))
    return bytes(data)


def _recording(rng: Rng) -> Attack:
    name = str(rng.choice([*SOUNDFILE, *FFMPEG]))
    return Attack(f"damaged {name}", [(upload(damaged(clip(name), rng)), 0.0)])


def _wrong_type(rng: Rng) -> Attack:
    contents = [
        b"",
        b"\x00",
        b"plain text",
        b"\x89PNG\r\n\x1a\n" + rng.bytes(300),
        b"%PDF-1.7\n" + rng.bytes(300),
        b"PK\x03\x04" + rng.bytes(300),
        b"<html><body>no</body></html>",
        b"#EXTM3U\n#EXTINF:1,\n/etc/passwd\n",
        b"ffconcat version 1.0\nfile /etc/passwd\n",
        gzip.compress(bytes(1 << 22)),
        b"RIFF\xff\xff\xff\xffWAVE",
        b"fLaC" + rng.bytes(200),
        b"OggS" + rng.bytes(200),
        b"ID3" + rng.bytes(200),
        b"\x1aE\xdf\xa3" + rng.bytes(200),
        b"#!AMR\n" + rng.bytes(800),
        b"\x00\x00\x00\x18ftypM4A " + rng.bytes(200),
        rng.bytes(int(rng.integers(1, 3000))),
    ]
    return Attack("wrong type", [(upload(contents[rng.integers(len(contents))]), 0.0)])


def _bomb(rng: Rng) -> Attack:
    """Few bytes that announce, or hold, much audio."""
    rates, channels = [0, 1, 8000, 48000, 2**31 - 1], [0, 1, 2, 255, 1024, 65535]
    if rng.integers(2):
        rate, count = int(rng.choice(rates)), int(rng.choice(channels))
        head = struct.pack(
            "<HHIIHH", int(rng.choice([1, 3, 0xFFFE])), count, rate, rate, 2, int(rng.choice([0, 8, 16]))
        )
        size = int(rng.choice([0, 100, 2**31 - 1, 2**32 - 1]))
        chunks = b"fmt \x10\x00\x00\x00" + head + b"data" + struct.pack("<I", size) + bytes(20_000)
        content = b"RIFF" + struct.pack("<I", len(chunks) + 4) + b"WAVE" + chunks
    else:
        content = _silence(*[("FLAC", 1), ("FLAC", 8), ("OGG", 1), ("OGG", 100)][rng.integers(4)])
    return Attack("bomb", [(upload(content), 0.0)])


@cache
def _silence(container: str, channels: int) -> bytes:
    """Silence at 48 kHz that compresses to next to nothing: two minutes, or of very many channels two seconds."""
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", 48000, channels, format=container) as output:
        for _ in range(120 if channels <= 8 else 2):
            output.write(np.zeros((48000, channels), np.float32))
    return file.getvalue()


def _multipart(rng: Rng) -> Attack:
    good = form((b'name="file"; filename="clip"', clip("FLAC")))
    boundary = b"multipart/form-data; boundary="
    choices = [
        (good, boundary + b"other"),
        (good[:-6], boundary + b"b"),
        (good, b"multipart/form-data"),
        (good, boundary),
        (good, boundary + b"b" * 5000),
        (good, boundary + b"\xff\xfe"),
        (good, b"application/json"),
        (good, b"application/x-www-form-urlencoded"),
        (good, b""),
        (b"--b\r\n\r\n", boundary + b"b"),
        (b"--b" * 3000, boundary + b"b"),
        (b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--\r\n", boundary + b"b"),
        (b"--b\r\n" + b"X-H: y\r\n" * 500 + b"\r\nx\r\n--b--\r\n", boundary + b"b"),
        (form((b'name="file"', b"text, not a file")), boundary + b"b"),
        (form((b'name="file"; filename="' + b"a" * 60_000 + b'"', clip("FLAC"))), boundary + b"b"),
        (form((b'name="file"; filename="../../\x00\xff"', clip("FLAC")[:99])), boundary + b"b"),
        (form(*[(b'name="f%d"' % i, b"x") for i in range(1100)]), boundary + b"b"),
        (form(*[(b'name="file"; filename="a"', b"x")] * 30), boundary + b"b"),
        (damaged(good, rng), boundary + b"b"),
    ]
    body, content_type = choices[rng.integers(len(choices))]
    path = str(rng.choice(["/asr", "/v1/audio/transcriptions"]))
    return Attack("multipart", [(request(path, body, content_type), 0.0)])


def _fields(rng: Rng) -> Attack:
    names = (
        b"max_new_tokens",
        b"temperature",
        b"response_format",
        b"stream",
        b"model",
        b"language",
        b"prompt",
        b"\xff",
    )
    values = (b"\xff\xfe", b"", b"nan", b"-1", b"1e999", b"9" * 500, b"true", b"\x00", b"srt", "\u0085\ud7ff".encode())
    fields = [(b'name="' + names[rng.integers(len(names))] + b'"', values[rng.integers(len(values))]) for _ in range(2)]
    return Attack("fields", [(upload(damaged(clip("WAV"), rng), *fields, path="/v1/audio/transcriptions"), 0.0)])


def _chat(rng: Rng) -> Attack:
    data = base64.b64encode(damaged(clip("FLAC"), rng)).decode()
    part = {"type": "input_audio", "input_audio": {"data": data, "format": "flac"}}
    body: dict[str, Any] = {"messages": [{"role": "user", "content": [part]}], "max_tokens": 2}
    wrong: list[Any] = [None, [], {}, "", -1, 1e308, 2**70, True, "x" * 2000, [[]] * 50, "\ud800"]
    keys = ["model", "messages", "max_tokens", "temperature", "n", "stop", "seed", "stream", "top_k", "logprobs", "new"]
    how = rng.integers(5)
    if how == 0:
        body[keys[rng.integers(len(keys))]] = wrong[rng.integers(len(wrong))]
    elif how == 1:
        body["messages"] = [{"role": "user", "content": wrong[rng.integers(len(wrong))]}] * int(rng.integers(1, 3))
    text = json.dumps(body).encode()
    if how == 2:
        text = damaged(text, rng)
    elif how == 3:
        odd = [
            b"[" * 20_000,
            b'{"a":' * 9000,
            b"NaN",
            b"\xff\xfe{",
            b'{"messages": NaN}',
            b"1" * 9000,
            b'"\\ud800"',
            b"",
        ]
        text = odd[rng.integers(len(odd))]
    return Attack("chat", [(request("/v1/chat/completions", text, b"application/json"), 0.0)])


def _lengths(rng: Rng) -> Attack:
    body, kind = form((b'name="file"; filename="clip"', clip("FLAC"))), b"multipart/form-data; boundary=b"
    how = rng.integers(6)
    if how == 0:  # More announced than sent: the client leaves, as else both would wait.
        return Attack("lengths", [(request("/asr", body, kind, announced=len(body) + 999), 0.05)], leaves=True)
    announced = [len(body) // 2, -5, "many", "1e3", 10**20][how - 1]
    return Attack("lengths", [(request("/asr", body, kind, announced=announced), 0.0)])


def _chunked(rng: Rng) -> Attack:
    head = b"POST /asr HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
    head += b"Content-Type: multipart/form-data; boundary=b\r\n"
    bodies = [
        b"zz\r\nabc\r\n",
        b"-1\r\n",
        b"F" * 40 + b"\r\n",
        b"5\r\nabc\r\n0\r\n\r\n",
        b"0\r\n\r\n",
        b"1;" + b"x" * 90_000,
    ]
    both = b"Content-Length: 3\r\n" if rng.integers(3) == 0 else b""
    return Attack("chunked", [(head + both + b"\r\n" + bodies[rng.integers(len(bodies))], 0.0)])


def _oversized(rng: Rng) -> Attack:
    """Beyond a limit of one megabyte."""
    if rng.integers(2):
        return Attack(
            "oversized", [(request("/asr", b"", b"text/plain", announced=int(rng.integers(2, 99)) * 10**6), 0.0)]
        )
    head = b"POST /asr HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
    head += b"Content-Type: multipart/form-data; boundary=b\r\n\r\n"
    start = b'--b\r\nContent-Disposition: form-data; name="file"; filename="c"\r\n\r\n'
    chunks = [(b"%x\r\n%b\r\n" % (len(part), part), 0.0) for part in (start, *[bytes(100_000)] * 12)]
    return Attack("oversized", [(head, 0.0), *chunks])


def _slow(rng: Rng) -> Attack:
    """A body that comes byte by byte, and not to its end."""
    start = request("/asr", b"--b\r\n", b"multipart/form-data; boundary=b", announced=5000)
    return Attack("slow", [(start, 0.1), *[(b"x", 0.1)] * int(rng.integers(3, 15))])


def _leaving(rng: Rng) -> Attack:
    whole = upload(clip(str(rng.choice(["WAV", "webm"]))))
    if rng.integers(3) == 0:
        whole = upload(clip("WAV"), (b'name="stream"', b"true"), path="/v1/audio/transcriptions")
    sent = len(whole) if rng.integers(2) else int(rng.integers(1, len(whole)))
    return Attack("leaving", [(whole[:sent], float(rng.choice([0.0, 0.02])))], leaves=True)


def _headers(rng: Rng) -> Attack:
    many = b"".join(b"X-%d: y\r\n" % i for i in range(20_000))
    choices = [
        request("/asr", b"", b"text/plain", headers=b"X-Long: " + b"y" * 200_000 + b"\r\n"),
        request("/asr", b"", b"text/plain", headers=many),
        b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        request("/asr", b"", b"text/plain", headers=b"X:\x00\xff\r\n"),
        request("/asr", b"", b"text/plain", headers=b"Host: y\r\nno colon\r\n"),
        request("/%00%ff%2e%2e/asr", b"", b"text/plain"),
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        b"GET http://[::bad HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ]
    return Attack("headers", [(choices[rng.integers(len(choices))], 0.0)])


def _garbage(rng: Rng) -> Attack:
    choices = [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + rng.bytes(300),
        b"GET /\r\n\r\n",
        b"POST\r\n\r\n",
        rng.bytes(500) + b"\r\n\r\n",
        b"DELETE /asr HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ]
    return Attack("garbage", [(choices[rng.integers(len(choices))], 0.0)])


KINDS: dict[Callable[[Rng], Attack], float] = {
    _recording: 45,
    _wrong_type: 10,
    _bomb: 4,
    _multipart: 10,
    _fields: 5,
    _chat: 10,
    _lengths: 4,
    _chunked: 3,
    _oversized: 2,
    _slow: 1,
    _leaving: 3,
    _headers: 2,
    _garbage: 1,
}
"""How an attack is made, and how often of a hundred."""


def attacks(count: int, seed: int) -> list[Attack]:
    """The same ones for the same seed."""
    shares = np.array([*KINDS.values()])
    makers = np.random.default_rng(seed).choice(len(KINDS), count, p=shares / shares.sum())
    return [[*KINDS][maker](np.random.default_rng([seed, i])) for i, maker in enumerate(makers)]
