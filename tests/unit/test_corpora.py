"""The built-in speech: what is said, who says it, and that it is the same every time."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from antiphon.audio.cache import ClipCache
from antiphon.audio.synth import synthesize
from antiphon.audio.voices import TRAIN_ACCENTS, UNSEEN_ACCENTS, VOICES, voices_of
from antiphon.data.corpora import commands, digits
from antiphon.data.corpora.sets import CONDITIONS, TEST_SETS, SynthClip, builtin_set, set_names
from antiphon.errors import AudioError, ConfigError
from antiphon.types import Clip

RATE = 16000


def sentences(corpus, count: int) -> list[list[str]]:
    rng = np.random.default_rng(0)
    return [corpus.sentence(rng).split() for _ in range(count)]


def clip_of(set_name: str, index: int = 0) -> SynthClip:
    clip = builtin_set(set_name)[index].clip
    assert isinstance(clip, SynthClip)
    return clip


def power(samples: np.ndarray) -> float:
    return float(np.mean(samples.astype(np.float64) ** 2))


def decibels(ratio: float) -> float:
    return 10 * float(np.log10(ratio))


# What is said


def test_digit_strings_are_three_to_six_digits_all_alike():
    said = sentences(digits, 3000)
    lengths, words = Counter(map(len, said)), Counter(word for sentence in said for word in sentence)
    assert sorted(lengths) == [3, 4, 5, 6]
    assert min(lengths.values()) > 650, "750 of each are expected, give or take 24"
    assert set(words) == set(digits.WORDS)
    assert min(words.values()) > 1200, "1350 of each are expected, give or take 35"


def test_commands_are_three_to_ten_words_of_the_vocabulary():
    said = sentences(commands, 5000)
    assert {len(sentence) for sentence in said} == set(range(3, 11))
    assert {word for sentence in said for word in sentence} <= set(commands.vocabulary())
    assert not any("{" in word or "}" in word for sentence in said for word in sentence)
    assert len({" ".join(sentence) for sentence in said}) > 2000


def lengths_of(text: str) -> tuple[int, int]:
    """The fewest and the most words that a template or a slot's option can become."""
    slots = [[lengths_of(option) for option in commands.SLOTS[name]] for name in commands._SLOT.findall(text)]
    plain = len(commands._SLOT.sub(" ", text).split())
    shortest = plain + sum(min(low for low, _ in options) for options in slots)
    return shortest, plain + sum(max(high for _, high in options) for options in slots)


@pytest.mark.parametrize("template", [t for templates in commands.TEMPLATES.values() for t in templates])
def test_no_template_can_leave_three_to_ten_words(template: str):
    shortest, longest = lengths_of(template)
    assert shortest >= 3
    assert longest <= 10


def test_the_vocabulary_is_large_and_every_word_of_it_is_said():
    vocabulary = commands.vocabulary()
    assert len(vocabulary) == len(set(vocabulary)) >= 150
    assert vocabulary == sorted(vocabulary)
    assert {word for sentence in sentences(commands, 20000) for word in sentence} == set(vocabulary)
    assert set(commands.TEMPLATES) == {"home", "timers", "calendar", "numbers", "navigation"}


# Who says it


def test_voices_are_many_and_each_in_one_split():
    assert len(VOICES) >= 24
    assert len({voice.name for voice in VOICES}) == len({voice.espeak for voice in VOICES}) == len(VOICES)
    assert len(voices_of("train")) >= 24
    assert sum(len(voices_of(split)) for split in ("train", "more", "test", "accent")) == len(VOICES)
    assert len({voice.accent for voice in VOICES}) >= 8


def test_speakers_of_the_test_splits_never_train():
    def variants(split) -> set[str]:
        return {voice.espeak.partition("+")[2] for voice in voices_of(split)}

    assert not (variants("train") | variants("more")) & (variants("test") | variants("accent"))
    assert "" not in variants("train") | variants("test") | variants("accent")


def test_accents_of_the_accent_split_are_unseen_and_the_others_seen():
    assert {voice.accent for voice in voices_of("accent")} == set(UNSEEN_ACCENTS)
    assert {voice.accent for voice in voices_of("train")} == {v.accent for v in voices_of("test")} == set(TRAIN_ACCENTS)
    files = {
        split: {v.espeak.partition("+")[0] for v in voices_of(split)} for split in ("train", "more", "test", "accent")
    }
    assert not files["accent"] & (files["train"] | files["more"] | files["test"])


def test_every_voice_and_every_accent_sounds_different():
    """The engine speaks a variant that it does not know as the plain accent, without a word."""
    accents = {**TRAIN_ACCENTS, **UNSEEN_ACCENTS}.values()
    names = [*(voice.espeak for voice in VOICES), *accents]
    spoken = {synthesize("turn left after the river", name, RATE).tobytes() for name in names}
    assert len(spoken) == len(names)


# The sets


def test_the_sets_that_there_are():
    assert TEST_SETS == ("clean", "noisy", "fast", "accent", "reverb")
    expected = {
        f"{c}-{s}" for c in ("digits", "commands") for s in ("train", "train-noisy", "train-reverb", *TEST_SETS)
    }
    assert set(set_names()) == expected


@pytest.mark.parametrize("name", ["commands-loud", "numbers-clean", "commands", "-clean", "clean", ""])
def test_an_unknown_set_is_refused_with_the_names_of_those_there_are(name: str):
    with pytest.raises(ConfigError) as caught:
        builtin_set(name)
    assert str(caught.value).startswith(
        f"there is no built-in set {name!r}; choose one of: digits-train, digits-train-"
    )
    assert "commands-reverb" in str(caught.value)


@pytest.mark.parametrize("corpus", ["digits", "commands"])
@pytest.mark.parametrize("set_name", TEST_SETS)
def test_a_test_set_holds_what_its_name_says(corpus: str, set_name: str):
    examples = builtin_set(f"{corpus}-{set_name}")
    clips = [example.clip for example in examples if isinstance(example.clip, SynthClip)]
    split = "accent" if set_name == "accent" else "test"
    assert len(clips) == len(examples) == len({example.id for example in examples}) == 300
    assert {example.speaker for example in examples} == {voice.name for voice in voices_of(split)}
    assert {example.columns["accent"] for example in examples} == {voice.accent for voice in voices_of(split)}
    assert [(example.task, example.text) for example in examples] == [("asr", clip.text) for clip in clips]
    noises = {"white", "pink", "babble"} if set_name == "noisy" else {None}
    assert {clip.noise for clip in clips} == noises
    assert all((clip.rt60 is not None) == (set_name == "reverb") for clip in clips)
    low, high = CONDITIONS[set_name].words_per_minute
    assert low <= min(clip.words_per_minute for clip in clips) < max(clip.words_per_minute for clip in clips) <= high
    assert (low > 200) == (set_name == "fast")
    assert all(0 <= clip.pitch <= 99 for clip in clips)


def test_a_set_is_the_same_each_time_it_is_made_and_unlike_the_others():
    first = builtin_set("commands-noisy")
    builtin_set.cache_clear()
    again = builtin_set("commands-noisy")
    assert again is not first
    assert again == first
    assert [e.text for e in first] != [e.text for e in builtin_set("commands-clean")]


# The same samples every time


def test_a_clip_sounds_the_same_whatever_was_spoken_in_between():
    for name in ("commands-clean", "commands-noisy", "digits-reverb"):
        clip = clip_of(name)
        first = clip.load(RATE)
        for other in range(1, 4):
            clip_of("commands-noisy", other).load(RATE)
        synthesize("and now for something else", "gmw/en-US+f3", RATE, 300, 80)
        assert np.array_equal(clip.load(RATE), first)


def test_clips_made_in_several_threads_are_the_same():
    clips = [clip_of("commands-noisy", i) for i in range(6)]
    alone = [clip.load(RATE) for clip in clips]
    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(lambda clip: clip.load(RATE), clips))
    assert all(np.array_equal(one, other) for one, other in zip(alone, together, strict=True))


def test_a_voice_that_does_not_exist_is_refused_and_does_no_harm():
    before = synthesize("turn left", "gmw/en-US+f3", RATE)
    with pytest.raises(AudioError, match="no voice 'gmw/martian'"):
        synthesize("turn left", "gmw/martian", RATE)
    assert np.array_equal(synthesize("turn left", "gmw/en-US+f3", RATE), before)


def test_a_variant_that_does_not_exist_is_refused():
    with pytest.raises(AudioError, match="martian"):
        synthesize("turn left", "gmw/en-US+martian", RATE)


@pytest.mark.parametrize("text", ["", "..."])
def test_a_text_with_nothing_to_say_is_refused(text: str):
    with pytest.raises(AudioError, match="made no sound"):
        synthesize(text, "gmw/en-US+f3", RATE)


def test_clips_are_mono_float32_and_heard_at_the_rate_asked_for():
    clip = clip_of("commands-clean")
    assert isinstance(clip, Clip)
    full, half = clip.load(RATE), clip.load(RATE // 2)
    assert full.ndim == half.ndim == 1
    assert full.dtype == half.dtype == np.float32
    assert abs(len(half) - len(full) / 2) <= 1
    assert 0.5 < len(full) / RATE < 8


def test_levels_vary_within_bounds_and_nothing_clips():
    loud = [clip_of(name, i).load(RATE) for name in ("commands-clean", "commands-noisy") for i in range(10)]
    levels = [decibels(power(samples)) for samples in loud]
    assert -32.1 <= min(levels) < -29
    assert -23 < max(levels) <= -19.9
    assert max(np.abs(samples).max() for samples in loud) < 1


def test_faster_speech_is_shorter_and_pitch_is_heard():
    slow, fast = (synthesize("open the garage door", "gmw/en-US+f3", RATE, wpm) for wpm in (140, 280))
    assert len(fast) < 0.7 * len(slow)
    high = synthesize("open the garage door", "gmw/en-US+f3", RATE, 140, pitch=80)
    assert not np.array_equal(high, slow)


@pytest.mark.parametrize("noise", ["white", "pink", "babble"])
def test_a_noisy_clip_is_its_clean_one_and_noise_at_its_ratio(noise: str):
    """Least squares finds the clean clip's share in the noisy one; the rest is the noise."""
    noisy = replace(clip_of("commands-noisy"), noise=noise, snr_db=5.0)
    clean, mixed = replace(noisy, noise=None).load(RATE), noisy.load(RATE)
    share = float(clean @ mixed / (clean @ clean))
    assert decibels(power(share * clean) / power(mixed - share * clean)) == pytest.approx(5.0, abs=0.5)


# Waveforms kept


def test_the_cache_gives_what_the_clip_gives_and_drops_the_one_not_read_for_longest():
    clips = [clip_of("digits-clean", i) for i in range(3)]
    waveforms = [clip.load(RATE) for clip in clips]
    cache = ClipCache(RATE, limit_bytes=waveforms[0].nbytes + max(w.nbytes for w in waveforms[1:]))
    first = cache.load(clips[0])
    assert np.array_equal(first, waveforms[0])
    second = cache.load(clips[1])
    assert cache.load(clips[0]) is first
    cache.load(clips[2])
    assert cache.load(clips[0]) is first, "read again since, so kept"
    assert cache.load(clips[1]) is not second, "dropped, and spoken again"
    assert np.array_equal(cache.load(clips[1]), waveforms[1])
