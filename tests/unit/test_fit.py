"""What of a data set a model cannot take is known before it is asked, by row, cause and remedy."""

import json
from itertools import product

import numpy as np
import pyarrow as pa
import pytest
import soundfile
import torch
from tiny_text import bytes_tokenizer, tiny
from typer.testing import CliRunner

from antiphon.audio.decode import FileClip
from antiphon.cli.main import app
from antiphon.config import load_config
from antiphon.data import index
from antiphon.data.indexed import asking
from antiphon.data.source import read_set
from antiphon.errors import ConfigError, DataError, ModelError
from antiphon.models.fit import Fit, seconds_of
from antiphon.models.fitting import fitting, surely_fit
from antiphon.models.load import load_policy
from antiphon.models.text_lm import TextLM
from antiphon.tasks.load import prompter
from antiphon.types import Example, Prompt

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


TEXTS = {
    "plain": ["one", "seven eight", "", "zero one two three", "héllo", "ONE"],
    "long": ["seven " * 9, "six " * 40, "a" * 20, "aaaa bbbb " * 6, "five " * 24, "x"],
    "refused": ["hello <|endoftext|> there", "a<|en|>b", "日本語", "<s>", "one|two", "tab\tnew"],
}


@pytest.mark.parametrize("asked", [[], ["language=given"]])
@pytest.mark.parametrize("name", ["whisper", "wav2vec2"])
def test_columns_and_examples_say_alike_what_fits(policies, clip, tmp_path, monkeypatch, name, asked):
    seconds = [1 / RATE, 0.3, 1.0, 1.9, 2.0, 7.9, 8.0, 8.1]
    texts = [text for some in TEXTS.values() for text in some]
    rows = [
        {"id": f"{at}", "audio": str(clip(one).path), "text": text, "language": "xx" if at % 5 == 4 else "en"}
        for at, (one, text) in enumerate(product(seconds, texts))
    ]
    for at, more in ((3, {"prompt": "Say it."}), (41, {"context": "names"}), (90, {"hotwords": ["x"]})):
        rows[at].update(more)
    for row in rows[::11]:
        del row["language"]
    path = tmp_path / "set.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    monkeypatch.setenv("ANTIPHON_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(index, "WORTH_IT", 0)
    monkeypatch.setattr(index, "_FEW", 0)
    indexed = read_set(path).examples
    lengths = pa.chunked_array([pa.array([seconds_of(example) for example in indexed])])
    for with_reference in (False, True):
        kept, bad = fitting(fit_of(policies[name], *asked, with_reference=with_reference), list(indexed), "s", "skip")
        fit = fit_of(policies[name], *asked, with_reference=with_reference)
        assert surely_fit(fit, indexed, lengths).sum() > len(kept) / 3
        columns, others = fitting(fit, indexed, "s", "skip", seconds=lengths)
        assert (list(columns), others) == (kept, bad)
    assert [one.id for one in asking(indexed)] == ["3", "41", "90"]


def test_texts_together_are_those_alone(policies, text_model):
    texts = [text for some in TEXTS.values() for text in some]
    for policy in [*policies.values(), text_model, load("student")]:
        for language in (None, "en"):
            prompt = Prompt("one", None, policy.rate, language=language)
            assert policy.targets(prompt, texts, language) == [alone(policy, prompt, one, language) for one in texts]
            assert policy.targets(prompt, [], language) == []


def alone(policy, prompt, text, language):
    try:
        return policy.target(prompt, text, language)
    except ModelError:
        return None


def load(name):
    return load_policy(f"builtin:{name}", torch.device("cpu"), torch.float32)
