"""Noise at its ratio and color, babble, rooms and telephone lines, against what they claim of themselves."""

import numpy as np
import pytest

from antiphon.audio.augment import add_noise, colored_noise, mix_babble, reverberate, telephone
from antiphon.audio.synth import synthesize

RATE = 16000


def power(samples: np.ndarray) -> float:
    return float(np.mean(samples.astype(np.float64) ** 2))


def decibels(ratio: float) -> float:
    return 10 * float(np.log10(ratio))


@pytest.mark.parametrize("color", ["white", "pink", "brown"])
@pytest.mark.parametrize("snr_db", [-5.0, 0.0, 12.0])
def test_noise_is_added_at_the_ratio_asked_for(color: str, snr_db: float):
    rng = np.random.default_rng(0)
    speech = synthesize("open the garage door", "gmw/en-US+f3", RATE)
    noisy = add_noise(speech, 7 * colored_noise(len(speech), color, rng), snr_db)
    added = noisy.astype(np.float64) - speech
    assert decibels(power(speech) / power(added)) == pytest.approx(snr_db, abs=1e-3)
    assert noisy.dtype == np.float32


def test_noise_over_silence_stays_silent():
    assert not add_noise(np.zeros(100, np.float32), np.ones(100, np.float32), 5.0).any()


@pytest.mark.parametrize(("color", "slope"), [("white", 0.0), ("pink", -1.0), ("brown", -2.0)])
def test_colored_noise_falls_by_its_power_of_the_frequency(color: str, slope: float):
    noise = colored_noise(1 << 16, color, np.random.default_rng(0))
    assert power(noise) == pytest.approx(1.0, rel=1e-4)
    spectrum = np.abs(np.fft.rfft(noise)) ** 2
    octaves = [(1 << k, 1 << (k + 1)) for k in range(6, 14)]
    levels = [np.log2(spectrum[low:high].mean()) for low, high in octaves]
    assert np.polyfit(range(len(octaves)), levels, 1)[0] == pytest.approx(slope, abs=0.1)


def test_babble_gives_every_talker_the_same_level_and_loops_short_ones():
    rng = np.random.default_rng(0)
    talkers = [0.01 * rng.standard_normal(900), 5.0 * rng.standard_normal(700), rng.standard_normal(2500)]
    babble = mix_babble([talker.astype(np.float32) for talker in talkers], 8000, rng)
    assert babble.shape == (8000,)
    shares = []
    for talker in talkers:
        # Where the loop starts is drawn; among all starts the right one correlates at 1 / sqrt of the power.
        looped = [np.resize(np.roll(talker, -start), 8000) for start in range(len(talker))]
        shares.append(max(abs(float(one @ babble)) / np.sqrt(float(one @ one) * 8000) for one in looped))
    assert shares == pytest.approx([1.0] * 3, abs=0.1)


@pytest.mark.parametrize("rt60", [0.2, 0.9])
def test_a_room_keeps_length_and_power_and_rings_for_its_time(rt60: float):
    speech = synthesize("open the garage door", "gmw/en-US+f3", RATE)
    wet = reverberate(speech, RATE, rt60, np.random.default_rng(0))
    assert len(wet) == len(speech)
    assert wet.dtype == np.float32
    assert power(wet) == pytest.approx(power(speech), rel=1e-5)
    assert not np.allclose(wet, speech, atol=1e-3)

    # A click: the direct path, then a tail of the same energy that is 60 dB down after rt60, so 30 dB at half.
    click = np.zeros(2 * RATE, np.float32)
    click[0] = 1.0
    response = reverberate(click, RATE, rt60, np.random.default_rng(1)).astype(np.float64)
    assert response[0] ** 2 == pytest.approx(np.sum(response[1:] ** 2), rel=1e-3)
    window, half = int(0.02 * RATE), int(rt60 / 2 * RATE)
    early, late = (power(response[start : start + window]) for start in (int(0.002 * RATE), half))
    assert decibels(early / late) == pytest.approx(30, abs=3)
    assert not response[int(rt60 * RATE) :].round(6).any()


def test_a_telephone_line_keeps_300_to_3400_hertz():
    seconds = np.arange(RATE) / RATE
    tones = {f: np.sin(2 * np.pi * f * seconds).astype(np.float32) for f in (100, 300, 1000, 3400, 6000)}
    gains = {f: power(telephone(tone, RATE)) / power(tone) for f, tone in tones.items()}
    assert decibels(gains[100]) < -20
    assert decibels(gains[6000]) < -20
    assert abs(decibels(gains[1000])) < 0.5
    assert decibels(gains[300]) == pytest.approx(-3, abs=0.3)
    assert decibels(gains[3400]) == pytest.approx(-3, abs=0.3)
