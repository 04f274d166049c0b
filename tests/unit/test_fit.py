"""What of a data set a model cannot take is known before it is asked, by row, cause and remedy."""

import json

import numpy as np
import pytest
import soundfile
import torch
from tiny_text import bytes_tokenizer, tiny
from typer.testing import CliRunner

from antiphon.audio.decode import FileClip
from antiphon.cli.main import app
from antiphon.config import load_config
from antiphon.errors import ConfigError, DataError
from antiphon.models.fit import Fit, fitting
from antiphon.models.load import load_policy
from antiphon.models.text_lm import TextLM
from antiphon.tasks.load import prompter
from antiphon.types import Example

RATE = 16000


@pytest.fixture(scope="module")
def policies():
    return {
        name: load_policy(f"builtin:{name}", torch.device("cpu"), torch.float32) for name in ("whisper", "wav2vec2")
    }


@pytest.fixture(scope="module")
def text_model():
    return TextLM(tiny("llama"), bytes_tokenizer(None))


@pytest.fixture
def clip(tmp_path):
    def made(seconds: float) -> FileClip:
        path = tmp_path / f"{seconds}.wav"
        soundfile.write(path, np.zeros(round(seconds * RATE), np.float32), RATE)
        return FileClip(path)

    return made


def fit_of(policy, *overrides, with_reference=False, **more):
    config = load_config(overrides=list(overrides))
    return Fit(policy, prompter(config, policy.rate), with_reference=with_reference, **more)


def faults(fit, *examples) -> str:
    """What is told of a set of these and one good example."""
    with pytest.raises(DataError) as error:
        fitting(fit, examples, "set.jsonl")
    return str(error.value)


def row(clip, text="one", line=1, language=None):
    return Example(f"id-{line}", "asr", clip, text, language, line=line)


def test_a_set_that_fits_stays_as_it_is(policies, clip):
    for policy in policies.values():
        rows = [row(clip(one), "one two", line) for line, one in enumerate((0.5, 1.0, 2.5))]
        assert fitting(fit_of(policy, with_reference=True), rows, "set.jsonl") == (rows, [])


@pytest.mark.parametrize("seconds", [1 / RATE, 1.0, 60.0])
def test_clips_beyond_the_window_are_named(policies, clip, seconds):
    window = policies["whisper"].limits.longest(RATE)
    message = faults(fit_of(policies["whisper"]), row(clip(window)), row(clip(window + seconds), line=7))
    assert "1 of 2" in message
    for part in ("line 7", f"{window + seconds}.wav", f"at most {window:g} s", "on_bad_audio: skip"):
        assert part in message


@pytest.mark.parametrize(("seconds", "text"), [(0.15, "abcde " * 17), (0.5, "a" * 25), (1.0, "hello there " * 5)])
def test_texts_with_more_labels_than_frames_are_named(policies, clip, seconds, text):
    policy = policies["wav2vec2"]
    message = faults(fit_of(policy, with_reference=True), row(clip(3.0)), row(clip(seconds), text, line=4))
    assert "line 4" in message
    assert "frames" in message
    assert fitting(fit_of(policy), [row(clip(seconds), text)], "set.jsonl")[1] == []


def test_the_longest_text_for_a_clips_frames_fits_and_a_letter_more_does_not(policies, clip):
    policy = policies["wav2vec2"]
    for seconds in (0.4, 1.1, 2.03):
        fit = fit_of(policy, with_reference=True)
        frames = policy.size(prompter(load_config(), RATE)(row(clip(seconds))))
        text = ("ab" * frames)[:frames]
        assert fit(row(clip(seconds), text), seconds) is None
        assert "frames" in str(fit(row(clip(seconds), text + ("b" if text[-1] == "a" else "a")), seconds))


@pytest.mark.parametrize("words", [100, 200, 1000])
def test_texts_beyond_the_decoders_positions_are_named(policies, clip, words):
    message = faults(fit_of(policies["whisper"], with_reference=True), row(clip(1.0), "seven " * words, line=3))
    assert "line 3" in message
    assert "96 positions" in message


@pytest.mark.parametrize("text", ["hello <|endoftext|> there", "<|startoftranscript|>", "a<|en|>b"])
def test_texts_with_control_tokens_are_named(policies, clip, text):
    message = faults(fit_of(policies["whisper"], with_reference=True), row(clip(1.0)), row(clip(1.0), text, line=2))
    assert "line 2" in message


def test_languages_that_the_model_does_not_know_are_named(policies, clip):
    fit = fit_of(policies["whisper"], "language=given")
    for language in ("xx", "sv", "Klingon"):
        message = faults(fit, row(clip(1.0), language="en"), row(clip(1.0), line=5, language=language))
        assert "line 5" in message
        assert language in message


@pytest.mark.parametrize("letters", [512, 513, 5000])
def test_prompts_beyond_a_text_models_positions_are_named_and_those_below_are_not(text_model, letters):
    def asks(number, line):
        return Example(f"id-{line}", "text", None, "x", columns={"prompt": "y" * number}, line=line)

    fit = fit_of(text_model, "task=text")
    assert fitting(fit, [asks(511, 1), asks(10, 2)], "set.jsonl")[1] == []
    message = faults(fit, asks(511, 1), asks(letters, 9))
    assert "line 9" in message
    assert "512 positions" in message


@pytest.mark.parametrize("named", [93, 96, 448])
def test_more_new_tokens_than_any_prompt_leaves_room_for_are_refused_with_the_highest_value(policies, clip, named):
    with pytest.raises(ConfigError, match="at most 92"):
        fitting(fit_of(policies["whisper"], max_new_tokens=named), [row(clip(1.0))], "set.jsonl")
    assert fitting(fit_of(policies["whisper"], max_new_tokens=92), [row(clip(1.0))], "set.jsonl")[1] == []


def test_rows_that_do_not_fit_are_left_out_where_that_is_asked_for(policies, clip):
    rows = [row(clip(1.0), line=1), row(clip(30.0), line=2), row(clip(1.0), "<|endoftext|>", line=3)]
    kept, bad = fitting(fit_of(policies["whisper"], with_reference=True), rows, "set.jsonl", "skip")
    assert kept == rows[:1]
    assert [one.line for one in bad] == [2, 3]
    with pytest.raises(DataError, match="No example is left"):
        fitting(fit_of(policies["whisper"], with_reference=True), rows[1:], "set.jsonl", "skip")


def test_data_check_lists_what_a_model_cannot_take(tmp_path, clip):
    rows = [(1.0, "one", "en"), (9.0, "one", "en"), (1.1, "seven " * 200, "en"), (1.2, "a", "xx")]
    lines = [{"audio": str(clip(seconds).path), "text": text, "language": code} for seconds, text, code in rows]
    (tmp_path / "set.jsonl").write_text("\n".join(map(json.dumps, lines)))
    asked = ["data", "check", str(tmp_path / "set.jsonl"), "--model", "builtin:whisper", "--json"]
    result = CliRunner().invoke(app, asked)
    report = json.loads(result.stdout)
    assert (result.exit_code, report["good"], [row["line"] for row in report["bad"]]) == (1, 1, [2, 3, 4])
    for row, part in zip(report["bad"], ("at most 8 s", "96 positions", "'xx'"), strict=True):
        assert part in row["reason"]
