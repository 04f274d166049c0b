"""Word times are those at which words were said, for each kind of model."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import openai
import pytest
import torch
from serving import Served, served

from antiphon.audio.encode import wav
from antiphon.audio.synth import synthesize
from antiphon.audio.voices import voices_of
from antiphon.data.corpora.sets import builtin_set
from antiphon.models.load import load_policy
from antiphon.models.word_times import Aligner, word_timer
from antiphon.types import Completion, Prompt

RATE = 16000


def spoken(words: list[str], voice: str, gap: float) -> tuple[np.ndarray, list[tuple[float, float]]]:
    """Words with silence between them, and when each begins and ends."""
    waveform, times = np.zeros(round(0.3 * RATE), np.float32), []
    for word in words:
        sound = synthesize(word, voice, RATE)
        loud = np.flatnonzero(np.abs(sound) > 0.01 * np.abs(sound).max())
        sound = sound[loud[0] : loud[-1] + 1]
        times.append((len(waveform) / RATE, (len(waveform) + len(sound)) / RATE))
        waveform = np.concatenate([waveform, sound, np.zeros(round(gap * RATE), np.float32)])
    return 0.5 * waveform, times


def builtin(name: str) -> Any:
    return load_policy(f"builtin:{name}", torch.device("cpu"), torch.float32)


@pytest.fixture(scope="module")
def aligner() -> Any:
    return builtin("wav2vec2")


@pytest.mark.parametrize("name", ["wav2vec2", "student"])
def test_words_are_found_where_they_were_said(name, aligner):
    policy = aligner if name == "wav2vec2" else builtin(name)
    timer = word_timer(policy, None if name == "wav2vec2" else aligner)
    assert timer
    errors = []
    texts = (["one", "seven", "three"], ["nine", "two", "five", "eight"], ["four", "six", "zero"])
    for words, voice, gap in itertools.product(texts, voices_of("test")[:2], (0.05, 0.2)):
        waveform, times = spoken(words, voice.espeak, gap)
        prompt = Prompt("clip", waveform, RATE, transcribe=True)
        ids = policy.target(prompt, " ".join(words), "English")
        text = " ".join(words) if name == "wav2vec2" else policy.tokenizer.decode(ids, skip_special_tokens=True)
        completion = Completion(tuple(ids), (0.0,) * len(ids), text, "stop")
        found = timer(prompt, completion)
        assert [word.text for word in found] == words
        errors += [abs(np.subtract(word[1:], time)) for word, time in zip(found, times, strict=True)]
    assert np.median(errors) < 0.03
    assert np.quantile(errors, 0.95) < 0.15


@pytest.fixture(scope="module")
def server(aligner: Aligner) -> Iterator[Served]:
    with served({"student": builtin("student"), "wav2vec2": aligner}, aligner=aligner) as one:
        yield one


@pytest.fixture(scope="module")
def clip() -> tuple[bytes, str]:
    examples = builtin_set("digits-clean")[1:3]
    pause = np.zeros(2 * RATE, np.float32)
    waveforms = [example.clip.load(RATE) for example in examples if example.clip]
    return wav(np.concatenate([waveforms[0], pause, waveforms[1]]), RATE), " ".join(one.text for one in examples)


@pytest.mark.parametrize("model", ["student", "wav2vec2"])
def test_openais_client_gets_words_and_subtitles_that_follow_them(server, clip, model):
    transcriptions = openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0).audio.transcriptions
    request: dict[str, Any] = {"model": model, "file": clip[0]}
    verbose: Any = transcriptions.create(
        **request, response_format="verbose_json", timestamp_granularities=["word", "segment"]
    )
    assert " ".join(word.word for word in verbose.words) == verbose.text
    times = [time for word in verbose.words for time in (word.start, word.end)]
    assert times == sorted(times)
    assert times[-1] <= verbose.duration + 0.02
    for segment in verbose.segments:
        inside = [word.word for word in verbose.words if segment.start - 0.02 <= word.start <= segment.end]
        assert " ".join(inside) == segment.text
    first, *_ = str(transcriptions.create(**request, response_format="vtt")).split("\n\n")[1:]
    assert first.startswith(f"00:00:0{verbose.words[0].start:.3f} --> ")


def test_a_model_without_word_times_says_how_to_get_them(clip):
    with served(builtin("student")) as alone:
        client = openai.OpenAI(base_url=f"{alone.url}/v1", api_key="none", max_retries=0)
        with pytest.raises(openai.BadRequestError, match="start the server with --aligner"):
            client.audio.transcriptions.create(
                model="tiny", file=clip[0], response_format="verbose_json", timestamp_granularities=["word"]
            )
        assert "-->" in str(client.audio.transcriptions.create(model="tiny", file=clip[0], response_format="srt"))
        (about,) = client.models.list().data
        assert about.word_times is False  # type: ignore[attr-defined]


def test_a_whispers_words_are_in_order_and_its_own(clip):
    with served(builtin("whisper")) as one:
        client = openai.OpenAI(base_url=f"{one.url}/v1", api_key="none", max_retries=0)
        verbose: Any = client.audio.transcriptions.create(
            model="tiny", file=clip[0], response_format="verbose_json", timestamp_granularities=["word"]
        )
    assert " ".join(word.word for word in verbose.words) == verbose.text
    starts = [word.start for word in verbose.words]
    assert starts == sorted(starts)
