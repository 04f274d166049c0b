"""Audio files in every form that people record in, by libsndfile and FFmpeg (PyAV), and FFmpeg's reading of them."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import av
import numpy as np
import soundfile


@dataclass(frozen=True)
class Encoding:
    """How FFmpeg writes a form."""

    container: str
    codec: str
    rate: int = 16000
    options: Mapping[str, str] = field(default_factory=dict)
    codec_options: Mapping[str, str] = field(default_factory=dict)


FFMPEG: dict[str, Encoding] = {
    "xing.mp3": Encoding("mp3", "libmp3lame"),
    "vbr.mp3": Encoding("mp3", "libmp3lame", 44100, codec_options={"q": "4", "compression_level": "7"}),
    "plain.mp3": Encoding("mp3", "libmp3lame", options={"write_xing": "0"}),
    "plain-vbr.mp3": Encoding("mp3", "libmp3lame", 44100, {"write_xing": "0"}, {"q": "4"}),
    "layer2.mp2": Encoding("mp2", "mp2"),
    "aac.m4a": Encoding("ipod", "aac"),
    "alac.m4a": Encoding("ipod", "alac"),
    "fragments.mp4": Encoding("mp4", "aac", options={"movflags": "frag_keyframe+empty_moov"}),
    "adts.aac": Encoding("adts", "aac"),
    "opus.webm": Encoding("webm", "libopus", 48000),
    "aac.mka": Encoding("matroska", "aac"),
    "live.webm": Encoding("webm", "libopus", 48000, {"live": "1"}),
    "voice.wma": Encoding("asf", "wmav2", 44100),
    "phone.amr": Encoding("amr", "libopencore_amrnb", 8000),
    "opus.ogg": Encoding("ogg", "libopus", 48000),
    "flac.ogg": Encoding("ogg", "flac"),
    "mp3.wav": Encoding("wav", "libmp3lame"),
    "dolby.ac3": Encoding("ac3", "ac3", 32000),
}
LIBSNDFILE: dict[str, tuple[str, str | None]] = {
    "pcm16.wav": ("WAV", "PCM_16"),
    "pcm8.wav": ("WAV", "PCM_U8"),
    "pcm24.wav": ("WAV", "PCM_24"),
    "float.wav": ("WAV", "FLOAT"),
    "ulaw.wav": ("WAV", "ULAW"),
    "gsm.wav": ("WAV", "GSM610"),
    "adpcm.wav": ("WAV", "MS_ADPCM"),
    "extensible.wav": ("WAVEX", "PCM_16"),
    "long.rf64": ("RF64", "PCM_16"),
    "wave.w64": ("W64", "PCM_16"),
    "apple.aiff": ("AIFF", "PCM_16"),
    "sun.au": ("AU", "PCM_16"),
    "sphere.sph": ("NIST", "PCM_16"),
    "core.caf": ("CAF", "PCM_16"),
    "free.flac": ("FLAC", "PCM_16"),
    "vorbis.ogg": ("OGG", "VORBIS"),
    "libsndfile.mp3": ("MP3", None),
}
ALL = [*LIBSNDFILE, *FFMPEG, "pipe.flac", "two.mp3", "pipe.wav", "no-size.wav"]


def speech_like(seconds: float, rate: int, seed: int = 0) -> np.ndarray:
    """Mono float32: a gliding tone in a little noise, loud enough that a shift or a gap shows."""
    time = np.arange(round(seconds * rate)) / rate
    tone = 0.3 * np.sin(2 * np.pi * (200 + 150 * np.sin(time * 2)) * time) * (0.6 + 0.4 * np.sin(9 * time))
    noise = 0.02 * np.random.default_rng(seed).standard_normal(len(time))
    return (tone + noise).astype(np.float32)


def made(name: str, seconds: float = 3.0, seed: int = 0) -> bytes:
    """The file of this name, of one of `ALL`."""
    special: dict[str, Callable[[], bytes]] = {
        "pipe.flac": lambda: without_flac_length(made("free.flac", seconds, seed)),
        "two.mp3": lambda: made("xing.mp3", seconds / 2, seed) + made("xing.mp3", seconds / 2, seed + 1),
        "pipe.wav": lambda: with_data_size(made("pcm16.wav", seconds, seed), 0xFFFFFFFF),
        "no-size.wav": lambda: with_data_size(made("pcm16.wav", seconds, seed), 0),
    }
    if name in special:
        return special[name]()
    if name in FFMPEG:
        return by_ffmpeg(FFMPEG[name], seconds, seed)
    container, coding = LIBSNDFILE[name]
    file = io.BytesIO()
    soundfile.write(file, speech_like(seconds, 16000, seed), 16000, format=container, subtype=coding)
    return file.getvalue()


def by_ffmpeg(how: Encoding, seconds: float, seed: int = 0) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format=how.container, options=dict(how.options)) as container:
        stream: Any = container.add_stream(how.codec, rate=how.rate, layout="mono", options=dict(how.codec_options))
        if how.codec == "wmav2":
            stream.bit_rate = 64000
        stream.open() if hasattr(stream, "open") else None
        context = stream.codec_context
        resampler = av.AudioResampler(context.format, "mono", how.rate, context.frame_size or 1024)
        samples = av.AudioFrame.from_ndarray(speech_like(seconds, how.rate, seed)[None], "fltp", "mono")
        samples.sample_rate, samples.pts = how.rate, 0
        for frame in [*resampler.resample(samples), *resampler.resample(None)]:
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()


def with_data_size(wav: bytes, size: int) -> bytes:
    """A WAV file whose data chunk states another size."""
    at = wav.index(b"data") + 4
    return wav[:at] + struct.pack("<I", size) + wav[at + 4 :]


def without_flac_length(flac: bytes) -> bytes:
    """A FLAC file as an encoder leaves it that writes to a pipe."""
    return flac[:21] + bytes([flac[21] & 0xF0]) + bytes(4) + flac[26:]


def by_ffmpeg_read(content: bytes) -> tuple[np.ndarray, int]:
    """What FFmpeg itself decodes of it, by its own choice of demuxer: mono float32 [samples] and the rate."""
    with av.open(io.BytesIO(content)) as container:
        stream = container.streams.audio[0]
        rate, parts = stream.codec_context.sample_rate, []
        for frame in container.decode(stream):
            found = frame.to_ndarray()
            samples = found if frame.format.is_planar else found.reshape(-1, frame.layout.nb_channels).T
            scale = {"u": 128.0, "i": float(1 << (8 * found.itemsize - 1)), "f": 1.0}[found.dtype.kind]
            centered = samples.astype(np.float64) - (128 if found.dtype.kind == "u" else 0)
            parts.append((centered / scale).mean(axis=0))
    return np.concatenate(parts).astype(np.float32), rate
