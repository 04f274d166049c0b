"""Clips longer than a model hears: refused, left out, or answered in pieces that are stitched with their times."""

import json
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch

from antiphon.audio.decode import FileClip
from antiphon.config import load_config
from antiphon.data.corpora.sets import builtin_set
from antiphon.errors import ConfigError, DataError
from antiphon.evaluate.pieces import Pieces, longest_piece, piece_of
from antiphon.evaluate.recognize import transcribe
from antiphon.evaluate.subject import LocalModel
from antiphon.models.fit import Fit
from antiphon.models.fitting import fitting
from antiphon.models.load import load_policy
from antiphon.rollout.engines.in_process import InProcessEngine
from antiphon.tasks.load import find_task, prompter
from antiphon.text.stitch import stitched
from antiphon.types import Example, Prompt

RATE = 16000


@pytest.fixture(scope="module")
def whisper():
    return load_policy("builtin:whisper", torch.device("cpu"), torch.float32)


@pytest.fixture(scope="module")
def said():
    """Clips of words, and what is said in them."""
    return [(one.clip.load(RATE), one.text) for one in builtin_set("digits-clean")[:8] if one.text][:5]


@pytest.fixture
def long(said, tmp_path):
    """All of them in one recording, with pauses between."""
    pause = np.zeros(RATE, np.float32)
    path = tmp_path / "long.wav"
    soundfile.write(path, np.concatenate([part for waveform, _ in said for part in (waveform, pause)]), RATE)
    return Example("long", "asr", FileClip(path), " ".join(text for _, text in said), line=3)


def decode(policy):
    return lambda prompts, most: InProcessEngine(policy).greedy(prompts, most, 16)


def test_a_long_recording_is_heard_as_its_pieces_are(whisper, long):
    prompt = prompter(load_config(), whisper.rate)
    piece = longest_piece(whisper)
    assert piece <= whisper.limits.longest(RATE)
    (whole,), _ = transcribe(whisper, decode(whisper), [long], prompt, 64, longest=piece)
    cut = Pieces.of(prompt(long), piece)
    assert len(cut.prompts) > 1
    heard = [whisper.render(one, p).text for p, one in zip(cut.prompts, decode(whisper)(cut.prompts, 64), strict=True)]
    assert whole.answer.text == stitched(heard)
    assert [one.text for one in whole.segments] == [text for text in heard if text]
    assert [(one.begin, one.end) for one in whole.segments] == [s for s, t in zip(cut.spans, heard, strict=True) if t]
    assert whole.seconds == pytest.approx(long.clip.seconds())


@pytest.mark.parametrize("seconds", [0.5, 1.0, 2.9])
def test_a_short_clip_is_answered_as_it_was(whisper, said, seconds):
    waveform = np.resize(said[0][0], round(seconds * RATE))
    prompt = Prompt("short", waveform, RATE, transcribe=True)
    assert Pieces.of(prompt, longest_piece(whisper)).prompts == (prompt,)
    assert Pieces.of(prompt, None).prompts == (prompt,)


def test_silence_of_any_length_is_heard_as_nothing(whisper, tmp_path):
    for seconds in (20.0, 41.0, 100.0):
        path = tmp_path / f"{seconds}.wav"
        soundfile.write(path, np.zeros(round(seconds * RATE), np.float32), RATE)
        example = Example("silence", "asr", FileClip(path), "")
        prompt = prompter(load_config(), whisper.rate)
        (one,), _ = transcribe(whisper, decode(whisper), [example], prompt, 64, longest=longest_piece(whisper))
        assert (one.answer.text, one.finish_reason, one.segments) == ("", "stop", ())


def test_what_becomes_of_a_long_clip(whisper, long):
    prompt, good = (
        prompter(load_config(), whisper.rate),
        replace(long, id="good", clip=builtin_set("digits-clean")[0].clip),
    )
    fit = Fit(whisper, prompt)
    with pytest.raises(DataError, match=r"line 3.*long.wav.*takes at most"):
        fitting(fit, [good, long], "set.jsonl")
    kept, bad = fitting(fit, [good, long], "set.jsonl", long_audio="skip")
    assert (kept, [row.line for row in bad]) == ([good], [3])
    with pytest.raises(DataError, match="takes an alignment"):
        fitting(fit, [good, long], "set.jsonl", long_audio="split")
    fit = Fit(whisper, prompt, piece=longest_piece(whisper))
    assert fitting(fit, [good, long], "set.jsonl", long_audio="split")[1] == []


def test_evaluation_keeps_what_it_heard_in_pieces(whisper, long, tmp_path):
    from antiphon.evaluate.normalizers import load_normalizer
    from antiphon.evaluate.sets import evaluate_sets

    class Quiet:
        def phase(self, title, total=None): ...
        def advance(self, done): ...
        def noted(self, message): ...

    (tmp_path / "set.jsonl").write_text(json.dumps({"audio": str(long.clip.path), "text": long.text}))
    config = load_config(overrides=["data.long_audio=split", "data.max_seconds=5"])
    subject = LocalModel("whisper", whisper, decode(whisper), 16, None)
    sets = {"set": str(tmp_path / "set.jsonl")}
    results = [
        evaluate_sets(subject, sets, config, load_normalizer(), Quiet(), output=tmp_path / "out").sets["set"]
        for _ in range(2)
    ]
    assert results[0]["wer"] == results[1]["wer"] < 1
    (line,) = (tmp_path / "out" / "transcripts" / "set.jsonl").read_text().splitlines()[1:]
    assert len(json.loads(line)["rows"][0]["segments"]) > 1


@pytest.mark.parametrize("task", ["classify"])
def test_only_transcripts_are_stitched(whisper, task):
    with pytest.raises(ConfigError, match="long_audio"):
        piece_of(whisper, find_task(task), load_config(overrides=[f"task={task}", "data.long_audio=split"]))
    assert piece_of(whisper, find_task(task), load_config(overrides=[f"task={task}"])) is None


@pytest.mark.parametrize(
    ("texts", "whole"), [(["one", "", "two"], "one two"), (["今天", "天气"], "今天天气"), (["a", "ไทย", "b"], "aไทยb")]
)
def test_pieces_are_joined_as_their_script_writes(texts, whole):
    assert stitched(texts) == whole
