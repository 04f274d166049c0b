"""Waveforms in memory: arrays and tensors of any type and shape as mono float32."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from antiphon.errors import AudioError
from antiphon.types import Hertz

ACCEPTED = (
    "give an array or tensor of int16, int32, uint8, float32 or float64, of shape (samples,), (samples, channels) or "
    '(channels, samples), with its rate: (array, rate), scipy\'s (rate, array), or {"array": …, "sampling_rate": …}'
)
MOST_CHANNELS = 32
HIGHEST_RATE: Hertz = 768_000


def from_array(value: Any, rate: Hertz | None = None) -> tuple[np.ndarray, Hertz]:
    """Convert a waveform in memory to mono float32 [samples] within ±1, and its rate.

    Integers are scaled by their type: int16 by 2^15, int32 by 2^31; uint8 is centered at 128, as in WAV files. Floats
    are kept. Of two axes, the shorter one is the channels, which are averaged.

    Args:
        value: An array or a tensor; a pair of it and its rate, in either order; or what an audio column of `datasets`
            gives, a mapping or a decoder of torchcodec.
        rate: The rate of an array that comes without one, in Hertz.

    Raises:
        AudioError: For anything else; the message says what is accepted.
    """
    array, rate = _with_rate(value, rate)
    samples = to_float(_array(array))
    if samples.ndim == 2:
        channels = 0 if samples.shape[0] < samples.shape[1] else 1
        if samples.shape[channels] > MOST_CHANNELS:
            raise _refused(f"an array of shape {samples.shape}")
        samples = samples.mean(axis=channels, dtype=np.float32)
    if samples.ndim != 1 or not len(samples):
        raise _refused(f"an array of shape {samples.shape}")
    if not np.isfinite(samples).all():
        raise AudioError("the waveform has samples that are NaN or infinite; compute it again")
    return np.ascontiguousarray(samples), _whole_rate(rate)


def to_float(samples: np.ndarray) -> np.ndarray:
    """Samples as float32 within ±1, by their type. Raises `AudioError` for a type that no samples have."""
    if samples.dtype.kind == "f":
        return samples.astype(np.float32, copy=False)
    if samples.dtype == np.uint8:
        return (samples.astype(np.float32) - 128) / 128
    if samples.dtype in (np.int16, np.int32):
        return (samples / float(1 << (8 * samples.dtype.itemsize - 1))).astype(np.float32)
    raise _refused(f"an array of {samples.dtype}")


def _with_rate(value: Any, rate: Hertz | None) -> tuple[Any, Any]:
    if isinstance(value, Mapping):
        array, own = value.get("array"), value.get("sampling_rate")
        if array is None:
            raise _refused(f"a mapping with the keys {', '.join(map(repr, value))}")
        return array, rate if own is None else own
    if hasattr(value, "get_all_samples"):
        samples = value.get_all_samples()
        return samples.data, samples.sample_rate
    if isinstance(value, tuple) and len(value) == 2:
        one, other = value
        return (other, one) if _is_number(one) else (one, other)
    return value, rate


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number) or (hasattr(value, "detach") and value.ndim == 0)


def _array(value: Any) -> np.ndarray:
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        value = value.detach().cpu()
        value = value.float().numpy() if value.dtype in (torch.bfloat16, torch.float16) else value.numpy()
    if isinstance(value, list) and value and isinstance(value[0], float | list):
        try:
            value = np.asarray(value, dtype=np.float32)
        except (TypeError, ValueError) as error:
            raise _refused("a list of unequal parts") from error
    if not isinstance(value, np.ndarray):
        raise _refused(f"a {type(value).__name__}")
    return value


def _whole_rate(rate: Any) -> Hertz:
    if rate is None:
        raise _refused("a waveform without a rate")
    try:
        number = float(rate)
    except (TypeError, ValueError):
        number = 0.0
    if not 1 <= number <= HIGHEST_RATE or number != int(number):
        raise AudioError(f"a waveform's rate is {rate!r:.60}; give whole samples a second, such as 16000")
    return int(number)


def _refused(what: str) -> AudioError:
    return AudioError(f"{what} is not a waveform; {ACCEPTED}")
