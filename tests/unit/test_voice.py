"""Long recordings are cut in their pauses."""

import itertools

import numpy as np
import pytest

from antiphon.audio.voice import no_speech_probability, split
from antiphon.data.corpora.sets import builtin_set

RATE = 8000


def sound(seconds: float, level: float = 0.3) -> np.ndarray:
    noise = np.random.default_rng(0).standard_normal(round(seconds * RATE))
    return (level * noise).clip(-1, 1).astype(np.float32)


def seconds(spans: list[tuple[int, int]]) -> list[tuple[float, float]]:
    return [(begin / RATE, end / RATE) for begin, end in spans]


def test_a_recording_that_is_short_enough_stays_as_it_is():
    assert split(sound(4.0, 0.0), RATE, 4.0) == [(0, 4 * RATE)]


def test_pieces_begin_and_end_in_pauses_with_a_margin():
    quiet = 0.0005
    whole = np.concatenate([sound(1, quiet), sound(2), sound(1, quiet), sound(3), sound(1, quiet), sound(2)])
    pieces = seconds(split(whole, RATE, 4.0))
    assert np.allclose(pieces, [(0.8, 3.2), (3.8, 7.2), (7.8, 10.0)], atol=0.05)


def test_as_much_as_fits_goes_together():
    silence = np.zeros(RATE, np.float32)
    whole = np.concatenate([one for _ in range(6) for one in (sound(1), silence)])
    pieces = seconds(split(whole, RATE, 5.0))
    assert np.allclose(pieces, [(0, 3.2), (3.8, 7.2), (7.8, 11.2)], atol=0.05)


def test_speech_without_a_pause_is_cut_where_it_is_quietest():
    whole = sound(9)
    whole[round(3.1 * RATE) : round(3.15 * RATE)] *= 0.05
    pieces = split(whole, RATE, 4.0)
    assert abs(pieces[0][1] / RATE - 3.12) < 0.03
    assert pieces[0][0] == 0
    assert pieces[-1][1] == len(whole)
    assert all(before[1] == after[0] for before, after in itertools.pairwise(pieces))
    assert all(end - begin <= 4 * RATE for begin, end in pieces)


def test_a_recording_in_which_nobody_speaks_has_no_pieces():
    assert split(np.zeros(9 * RATE, np.float32), RATE, 4.0) == []


RNG = np.random.default_rng(0)


def colored(exponent: float, seconds: float) -> np.ndarray:
    """Noise whose power falls with the frequency to the power of `exponent`."""
    spectrum = np.fft.rfft(RNG.normal(size=round(seconds * RATE)))
    shape = np.maximum(np.arange(len(spectrum)), 1.0) ** (-exponent / 2)
    noise = np.fft.irfft(spectrum * shape)
    return (0.3 * noise / np.abs(noise).max()).astype(np.float32)


@pytest.mark.parametrize("seconds", [0.2, 0.5, 2.0, 3.9, 10.0])
def test_silence_and_steady_noise_are_no_speech(seconds):
    time = np.arange(round(seconds * RATE)) / RATE
    for one in (
        np.zeros_like(time),
        1e-4 * RNG.normal(size=len(time)),
        *(colored(exponent, seconds) for exponent in (0.0, 1.0, 2.0)),
        np.sin(2 * np.pi * 50 * time) + 0.3 * np.sin(2 * np.pi * 150 * time),
    ):
        assert no_speech_probability(one.astype(np.float32), RATE) > 0.8


def test_speech_in_loud_noise_is_speech():
    for example in builtin_set("commands-noisy")[:20]:
        assert example.clip is not None
        clip = example.clip.load(RATE)
        noise = colored(0.0, len(clip) / RATE)[: len(clip)]
        noise *= np.sqrt(np.mean(clip**2) / np.mean(noise**2))
        assert no_speech_probability(clip, RATE) < 1e-3
        assert no_speech_probability(clip[: len(noise)] + noise, RATE) < 0.1
        assert no_speech_probability(1e-2 * clip, RATE) < 1e-3


def test_nothing_is_no_speech():
    assert no_speech_probability(np.zeros(0, np.float32), RATE) == 1.0
