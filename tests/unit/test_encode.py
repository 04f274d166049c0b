"""Waveforms as WAV files, read back."""

from __future__ import annotations

import io

import numpy as np
import soundfile

from antiphon.audio.encode import wav


def test_every_16_bit_sample_survives():
    every = np.arange(-32768, 32768, dtype=np.int16)
    heard = (every / 32768).astype(np.float32)
    content = wav(heard, 16000, "int16")
    read, rate = soundfile.read(io.BytesIO(content), dtype="int16")
    assert rate == 16000
    assert np.array_equal(read, every)
    assert soundfile.info(io.BytesIO(content)).subtype == "PCM_16"


def test_floats_are_not_rounded_and_16_bits_are_clipped():
    waveform = np.array([[0.1, -1.5], [1 / 3, 2.0]], np.float32)
    read, _ = soundfile.read(io.BytesIO(wav(waveform, 8000)), dtype="float32")
    assert np.array_equal(read, waveform)
    clipped, _ = soundfile.read(io.BytesIO(wav(waveform, 8000, "int16")), dtype="int16")
    assert clipped[:, 1].tolist() == [-32768, 32767]
