"""What lossy codecs leave of a waveform: it is encoded and decoded in memory, by libsndfile."""

from __future__ import annotations

import io

import numpy as np
import soundfile
import soxr

from antiphon.audio.decode import read_audio
from antiphon.audio.embedded import Embedded
from antiphon.types import Hertz

CODECS: dict[str, tuple[str, str, Hertz, bool]] = {
    "ulaw": ("WAV", "ULAW", 8000, False),
    "gsm": ("WAV", "GSM610", 8000, False),
    "opus": ("OGG", "OPUS", 16000, True),
    "vorbis": ("OGG", "VORBIS", 16000, True),
    "mp3": ("MP3", "MPEG_LAYER_III", 16000, True),
}
"""The container, the coding, the rate at which it runs, and whether it has a level of compression."""
_MOST = 0.95
"""The highest level; LAME has none beyond."""


def transcode(speech: np.ndarray, rate: Hertz, codec: str, compression: float) -> np.ndarray:
    """`speech`, mono float32 [samples] at `rate`, after `codec`, one of `CODECS`; it keeps its length.

    `compression` is from 0, the best quality, to 1, the fewest bits; codecs of telephone lines have no choice.
    """
    container, coding, own_rate, has_level = CODECS[codec]
    narrow = soxr.resample(speech, rate, own_rate) if rate != own_rate else speech
    file = io.BytesIO()
    level = min(compression, _MOST) if has_level else None
    with soundfile.SoundFile(file, "w", own_rate, 1, coding, format=container, compression_level=level) as output:
        for begin in range(0, len(narrow), own_rate):  # libsndfile's Vorbis overflows its stack on longer blocks.
            output.write(np.clip(narrow[begin : begin + own_rate], -1, 1))
    heard = read_audio(Embedded(f"{codec} in memory", file.getvalue), rate)
    return np.pad(heard, (0, max(len(speech) - len(heard), 0)))[: len(speech)]
