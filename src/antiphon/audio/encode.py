"""Waveforms as WAV files."""

from __future__ import annotations

import io
from typing import Literal

import numpy as np
import soundfile

from antiphon.types import Hertz


def wav(waveform: np.ndarray, rate: Hertz, samples: Literal["float", "int16"] = "float") -> bytes:
    """The WAV file of `waveform`, [samples] or [samples, channels] in -1..1.

    As 32-bit floats nothing is rounded. As 16-bit integers it is scaled as readers scale back, so audio that was
    16-bit at this rate is written bit for bit; what is beyond ±1 is clipped.
    """
    file = io.BytesIO()
    if samples == "float":
        soundfile.write(file, waveform.astype(np.float32, copy=False), rate, format="WAV", subtype="FLOAT")
    else:
        scaled = np.clip(np.rint(waveform * 32768), -32768, 32767).astype(np.int16)
        soundfile.write(file, scaled, rate, format="WAV", subtype="PCM_16")
    return file.getvalue()
