"""Encodes waveforms as WAV and FLAC files."""

from __future__ import annotations

import io
from typing import Literal

import numpy as np
import soundfile

from antiphon.types import Hertz


def wav(waveform: np.ndarray, rate: Hertz, samples: Literal["float", "int16"] = "float") -> bytes:
    """Encode `waveform`, [samples] or [samples, channels] in -1..1, as a WAV file.

    32-bit floats are lossless. 16-bit integers use the readers' scale, so audio that was 16-bit at this rate is
    written bit for bit; samples beyond ±1 are clipped.
    """
    file = io.BytesIO()
    if samples == "float":
        soundfile.write(file, waveform.astype(np.float32, copy=False), rate, format="WAV", subtype="FLOAT")
    else:
        scaled = np.clip(np.rint(waveform * 32768), -32768, 32767).astype(np.int16)
        soundfile.write(file, scaled, rate, format="WAV", subtype="PCM_16")
    return file.getvalue()


def flac(waveform: np.ndarray, rate: Hertz) -> bytes:
    """Encode `waveform`, [samples] or [samples, channels] in -1..1, as a FLAC file.

    It has 16 bits where these hold every sample exactly, as those of a 16-bit recording, else 24. Samples beyond ±1 are
    clipped.
    """
    scaled = waveform.astype(np.float64) * 32768
    exact = (
        np.array_equal(scaled, np.rint(scaled)) and scaled.max(initial=0) < 32768 and scaled.min(initial=0) >= -32768
    )
    samples = scaled.astype(np.int16) if exact else _integers_of_24_bits(waveform)
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format="FLAC", subtype="PCM_16" if exact else "PCM_24")
    return file.getvalue()


def _integers_of_24_bits(waveform: np.ndarray) -> np.ndarray:
    """Samples as integers of 24 bits, in the upper bits of int32, as libsndfile takes them."""
    most = 1 << 23
    return np.clip(np.rint(waveform.astype(np.float64) * most), -most, most - 1).astype(np.int32) << 8
