"""Waveforms in memory: scaled by their type, mono whatever their shape; all else is refused with what is accepted."""

from __future__ import annotations

import io
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch

from antiphon.api.recordings import encoded
from antiphon.audio.waveform import from_array
from antiphon.errors import AudioError

RATE = 16000
TONE = (0.5 * np.sin(np.arange(800) / 5)).astype(np.float32)
AS_TYPES = {
    "int16": np.round(TONE * 2**15).astype(np.int16),
    "int32": np.round(TONE * 2.0**31).astype(np.int32),
    "uint8": np.round(TONE * 128 + 128).astype(np.uint8),
    "float32": TONE,
    "float64": TONE.astype(np.float64),
    "float16": TONE.astype(np.float16),
}


@pytest.mark.parametrize("name", AS_TYPES)
def test_samples_are_scaled_by_their_type(name: str):
    waveform, rate = from_array(AS_TYPES[name], RATE)
    assert waveform.dtype == np.float32
    assert rate == RATE
    np.testing.assert_allclose(waveform, TONE, atol=1 / 127 if name == "uint8" else 1e-3)


@pytest.mark.parametrize("shape", ["(n,)", "(n, c)", "(c, n)", "(1, n)", "(n, 1)"])
@pytest.mark.parametrize("kind", ["array", "tensor"])
def test_shapes_and_tensors_become_mono(shape: str, kind: str):
    stereo = np.stack([TONE, -TONE / 2])
    value = {"(n,)": TONE, "(n, c)": stereo.T, "(c, n)": stereo, "(1, n)": TONE[None], "(n, 1)": TONE[:, None]}[shape]
    waveform, _ = from_array(torch.from_numpy(value.copy()) if kind == "tensor" else value, RATE)
    np.testing.assert_allclose(waveform, stereo.mean(0) if "c" in shape else TONE, atol=1e-7)


@pytest.mark.parametrize(
    "value",
    [
        (TONE, RATE),
        (RATE, AS_TYPES["int16"]),
        (np.int64(RATE), AS_TYPES["int16"]),
        {"array": AS_TYPES["int16"], "sampling_rate": RATE, "path": None},
        (TONE.tolist(), RATE),
        (torch.from_numpy(TONE), torch.tensor(RATE)),
        SimpleNamespace(get_all_samples=lambda: SimpleNamespace(data=torch.from_numpy(TONE[None]), sample_rate=RATE)),
    ],
)
def test_forms_of_libraries_become_the_same_file(value: object):
    samples, rate = soundfile.read(io.BytesIO(encoded(value)), dtype="float32")
    assert rate == RATE
    np.testing.assert_allclose(samples, TONE, atol=1e-4)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ((np.arange(8), RATE), "int64"),
        ((np.zeros((2, 3, 4), np.float32), RATE), r"shape \(2, 3, 4\)"),
        ((np.zeros((40, 50), np.float32), RATE), r"shape \(40, 50\)"),
        ((np.zeros(0, np.float32), RATE), r"shape \(0,\)"),
        ((np.array(["a"]), RATE), "<U1"),
        (("hello", RATE), "str"),
        ({"array": TONE}, "without a rate"),
        ((np.zeros(4, complex), RATE), "complex128"),
    ],
)
def test_other_things_are_refused_with_what_is_accepted(value: object, said: str):
    with pytest.raises(AudioError, match=f"(?s){said}.*int16, int32, uint8, float32 or float64.*sampling_rate"):
        encoded(value)


@pytest.mark.parametrize("rate", [0, -16000, 16000.5, "fast"])
def test_a_rate_that_is_none(rate: object):
    with pytest.raises(AudioError, match="rate"):
        encoded((TONE, rate))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_not_finite(value: float):
    with pytest.raises(AudioError, match="NaN or infinite"):
        from_array(np.array([0.0, value]), RATE)
