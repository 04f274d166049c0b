"""Noise, reverberation, telephone lines, levels and masks for waveforms; seeded, and identical on every machine.

All functions take and return mono float32 [samples] and draw from the `numpy.random.Generator` they are given.
`scipy.signal` is imported where it is used: it takes a second, and most commands change no waveform.
"""

from __future__ import annotations

import numpy as np

from antiphon.types import Hertz, Seconds

COLORS = {"white": 0.0, "pink": 1.0, "brown": 2.0}


def colored_noise(samples: int, color: str, rng: np.random.Generator) -> np.ndarray:
    """Gaussian noise whose power falls as 1/f^k (white k=0, pink k=1, brown k=2), unit power."""
    spectrum = np.fft.rfft(rng.standard_normal(samples))
    frequency = np.arange(len(spectrum), dtype=np.float64)
    frequency[0] = 1.0
    shaped = spectrum / frequency ** (COLORS[color] / 2)
    shaped[0] = 0.0
    noise = np.fft.irfft(shaped, samples)
    return (noise / max(float(np.sqrt(np.mean(noise**2))), 1e-12)).astype(np.float32)


def add_noise(speech: np.ndarray, noise: np.ndarray, snr_db: float) -> np.ndarray:
    """`speech` plus `noise`, scaled so that their power ratio over the whole clip is `snr_db` decibels."""
    speech_power = float(np.mean(speech.astype(np.float64) ** 2))
    noise_power = max(float(np.mean(noise.astype(np.float64) ** 2)), 1e-12)
    gain = np.sqrt(speech_power / (noise_power * 10 ** (snr_db / 10)))
    return (speech + gain * noise).astype(np.float32)


def mix_babble(talkers: list[np.ndarray], samples: int, rng: np.random.Generator) -> np.ndarray:
    """Several talkers at equal level, each looped from a random point, as one background of [samples]."""
    babble = np.zeros(samples, dtype=np.float64)
    for talker in talkers:
        level = max(float(np.sqrt(np.mean(talker.astype(np.float64) ** 2))), 1e-6)
        start = int(rng.integers(len(talker)))
        babble += np.resize(np.roll(talker, -start), samples) / level
    return babble.astype(np.float32)


def reverberate(speech: np.ndarray, rate: Hertz, rt60: Seconds, rng: np.random.Generator) -> np.ndarray:
    """Convolve with a synthetic room: a direct path and exponentially decaying diffuse noise (−60 dB at `rt60`).

    The reverberation-only energy equals the direct energy; the clip keeps its length and its power.
    """
    from scipy.signal import fftconvolve

    length = max(int(rt60 * rate), 2)
    decay = 10.0 ** (-3.0 * np.arange(length) / length)
    tail = rng.standard_normal(length) * decay
    tail[: int(0.002 * rate)] = 0.0
    response = tail / np.sqrt(np.sum(tail**2))
    response[0] += 1.0
    wet = fftconvolve(speech, response)[: len(speech)]
    power_in, power_out = np.mean(speech.astype(np.float64) ** 2), np.mean(wet**2)
    return (wet * np.sqrt(power_in / max(float(power_out), 1e-12))).astype(np.float32)


def telephone(speech: np.ndarray, rate: Hertz) -> np.ndarray:
    """The 300-3400 Hz band of a telephone line."""
    from scipy.signal import butter, sosfilt

    band = butter(4, [300, 3400], btype="bandpass", fs=rate, output="sos")
    return np.asarray(sosfilt(band, speech)).astype(np.float32)


def convolve(speech: np.ndarray, response: np.ndarray) -> np.ndarray:
    """`speech` in the room whose impulse `response` [samples] was measured at the same rate.

    The response begins at its loudest sample, so that speech stays where it was; the clip keeps its length and power.
    """
    from scipy.signal import fftconvolve

    direct = int(np.argmax(np.abs(response)))
    wet = fftconvolve(speech, response[direct:])[: len(speech)]
    power_in, power_out = np.mean(speech.astype(np.float64) ** 2), np.mean(wet**2)
    return (wet * np.sqrt(power_in / max(float(power_out), 1e-12))).astype(np.float32)


def amplify(speech: np.ndarray, db: float) -> np.ndarray:
    """`speech` at `db` decibels more."""
    return (speech * 10 ** (db / 20)).astype(np.float32)


def mask_time(speech: np.ndarray, begin: int, samples: int) -> np.ndarray:
    """`speech` with a span of silence."""
    masked = speech.copy()
    masked[begin : begin + samples] = 0.0
    return masked


def mask_frequency(speech: np.ndarray, rate: Hertz, low: float, high: float) -> np.ndarray:
    """`speech` without what sounds from `low` to `high` Hertz."""
    spectrum = np.fft.rfft(speech)
    frequency = np.fft.rfftfreq(len(speech), 1 / rate)
    spectrum[(frequency >= low) & (frequency < high)] = 0.0
    return np.fft.irfft(spectrum, len(speech)).astype(np.float32)
