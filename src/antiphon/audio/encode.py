"""Encodes waveforms as WAV files."""

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
