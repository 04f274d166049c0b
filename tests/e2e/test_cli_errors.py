"""Bad input through the command line: exit status 2, one message on stderr, no traceback, no run folder.

Of each message the tests ask for what a reader needs: the row, key or file at fault, the cause, and the remedy. How the
sentence runs is free.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
from conftest import Outcome, write_rows

RATE = 16000
TONE = 0.1 * np.sin(2 * np.pi * 220 * np.arange(RATE) / RATE).astype(np.float32)
"""One second."""


def truncated_flac(folder: Path) -> dict:
    noise = np.random.default_rng(0).uniform(-0.1, 0.1, 4 * RATE)
    soundfile.write(folder / "a.flac", noise, RATE)
    whole = (folder / "a.flac").read_bytes()
    (folder / "a.flac").write_bytes(whole[: len(whole) // 2])
    return {"audio": "a.flac"}


def with_nan(folder: Path) -> dict:
    samples = TONE.copy()
    samples[4000] = np.nan
    soundfile.write(folder / "a.wav", samples, RATE, subtype="FLOAT")
    return {"audio": "a.wav"}


def text_file(folder: Path) -> dict:
    (folder / "a.wav").write_text("three one four\n")
    return {"audio": "a.wav"}


def zero_length(folder: Path) -> dict:
    (folder / "a.wav").touch()
    return {"audio": "a.wav"}


def tone(folder: Path, seconds: int = 1, **further) -> dict:
    soundfile.write(folder / "a.wav", np.tile(TONE, seconds), RATE)
    return {"audio": "a.wav", **further}


BAD_CLIPS = {
    "missing": (
        lambda folder: {"audio": "gone.wav"},
        ("gone.wav", "no such file", "relative to the JSONL file"),
    ),
    "zero length": (zero_length, ("a.wav", "empty")),
    "truncated FLAC": (truncated_flac, ("a.flac", "truncated or damaged")),
    "text": (text_file, ("a.wav", "not audio", "three one four")),
    "NaN": (with_nan, ("a.wav", "NaN", "0.25 s", "remove the row")),
    "segment beyond the end": (
        lambda folder: tone(folder, begin_time=0.5, end_time=9),
        ("a.wav", "0.5 s to 9 s", "beyond the end", "1 s", "begin_time", "end_time"),
    ),
    "over-long": (
        lambda folder: tone(folder, seconds=31),
        ("a.wav", "31 s", "data.max_seconds=30", "data.on_bad_audio: skip"),
    ),
}


def assert_refused(outcome: Outcome, *named: object) -> None:
    """One error, which names all of these."""
    assert outcome.status == 2, outcome
    assert outcome.err.startswith("error: ")
    missing = [str(one) for one in named if str(one) not in outcome.err]
    assert not missing, outcome.err
    assert outcome.out == ""
    assert "Traceback" not in outcome.err


@pytest.mark.parametrize("case", BAD_CLIPS)
def test_a_bad_clip_stops_training_before_it_starts(cli, recipe, speech, tmp_path, case):
    make, named = BAD_CLIPS[case]
    good = {"audio": str(speech / "digits-clean-00000.wav"), "text": "one five four two"}
    data = write_rows(tmp_path / "data.jsonl", [good, {"id": "bad", "text": "three", **make(tmp_path)}])
    refused = cli("train", *recipe, f"data.train={data}", f"output={tmp_path}/runs", "--json")
    assert_refused(refused, *named, data, "1 of 2", "line 2 (example bad)", "data.on_bad_audio: skip")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("case", BAD_CLIPS)
def test_a_bad_clip_is_refused_by_eval_too(cli, tmp_path, case):
    make, named = BAD_CLIPS[case]
    data = write_rows(tmp_path / "data.jsonl", [{"text": "three", **make(tmp_path)}])
    assert_refused(cli("eval", "builtin:student", "--data", data, "--json"), *named)


@pytest.mark.parametrize("case", sorted(set(BAD_CLIPS) - {"over-long", "segment beyond the end"}))
def test_transcribe_names_the_bad_file(cli, tmp_path, case):
    make, named = BAD_CLIPS[case]
    refused = cli("transcribe", "builtin:student", tmp_path / make(tmp_path)["audio"])
    assert_refused(refused, *named, "--on-bad-audio skip")


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ('{"audio": "a.wav", "text": "one"', ("line 1", "JSON", "column 33")),
        ('{"audio": "a.wav"}', ("line 1", '"text"', '"audio"')),
        ('["a.wav", "one"]', ("line 1", "list", "JSON object")),
        ('{"audio": "a.wav", "text": "one", "task": "ars"}', ("line 1", "ars", "did you mean", "asr")),
        ("", ("no rows",)),
    ],
)
def test_a_malformed_line_is_named(cli, recipe, tmp_path, line, named):
    data = tmp_path / "data.jsonl"
    data.write_text(line + "\n")
    assert_refused(cli("train", *recipe, f"data.train={data}"), data, *named)


REFUSED_RECIPES = {
    "rollout.group_sise=4": ("'rollout.group_sise'", "the override 'rollout.group_sise=4'", "'rollout.group_size'?"),
    "lerning_rate=1": ("'lerning_rate'", "the override 'lerning_rate=1'"),
    "rollout.group_size=four": ("'rollout.group_size'", "override 'rollout.group_size=four'", "whole number"),
    "optimizer.lr=0": ("'optimizer.lr'", "the override 'optimizer.lr=0'", "more than 0"),
    "algorithm=grop": ("algorithm", "'grop'", "grpo"),
    "algorithm={name: grpo, betta: 1}": ("'algorithm.betta'", "did you mean 'algorithm.beta'?"),
    "reward=wre": ("reward", "'wre'", "did you mean 'wer'?"),
    "reward=gone.py:f": ("gone.py", "no file"),
    "task=ars": ("task", "ars", "did you mean", "asr"),
    "model=builtin:stduent": ("'stduent'", "builtin:student"),
    "model=nowhere": ("'nowhere'", "no folder", "no run in "),
    "data.train=builtin:digits-noise": ("'digits-noise'", "digits-train"),
    "data.train=gone.jsonl": ("gone.jsonl", "No such file or directory"),
    "data.train=null": ("no training data", "--data", "data.train=builtin:commands-train"),
    "rollout.prompts_per_step=9": ("8 usable examples", "rollout.prompts_per_step=9"),
}
"""What the error names: the key and its place, the cause, the nearest name or the remedy."""


@pytest.mark.parametrize("override", REFUSED_RECIPES)
def test_a_wrong_recipe_is_refused(cli, recipe, tmp_path, override):
    refused = cli("train", *recipe, f"output={tmp_path}/runs", override, "--json")
    assert_refused(refused, *REFUSED_RECIPES[override])
    assert not (tmp_path / "runs").exists()


def test_a_wrong_key_in_a_recipe_file_is_named_with_the_file(cli, tmp_path):
    (tmp_path / "recipe.yaml").write_text("rollout:\n  temprature: 0.7\n")
    refused = cli("train", tmp_path / "recipe.yaml")
    assert_refused(refused, "'rollout.temprature'", tmp_path / "recipe.yaml", "did you mean 'rollout.temperature'?")


def test_malformed_yaml_is_placed(cli, tmp_path):
    (tmp_path / "recipe.yaml").write_text("rollout:\n  group_size: [4\n")
    assert_refused(cli("train", tmp_path / "recipe.yaml"), "YAML", f"{tmp_path}/recipe.yaml, line 3, column 1")


def test_what_is_neither_recipe_nor_override_is_named(cli):
    assert_refused(cli("train", "a=1", "recipe.yaml"), "'recipe.yaml'", "first")


def test_a_run_folder_that_cannot_be_made_is_named(cli, recipe, tmp_path):
    (tmp_path / "file").touch()
    output = tmp_path / "file" / "runs"
    refused = cli("train", *recipe, "eval.before=false", f"output={output}")
    assert_refused(refused, output, "Not a directory", "output=FOLDER")


def test_output_that_cannot_be_written_is_refused_before_the_work(cli, speech, tmp_path):
    (tmp_path / "file").touch()
    place = tmp_path / "file" / "results"
    data = speech / "dev.jsonl"
    refused = cli("eval", "builtin:student", "--data", data, "--output", place)
    assert_refused(refused, place, "Not a directory")
    refused = cli("transcribe", "builtin:student", "--input", data, "--output", place / "texts.jsonl")
    assert_refused(refused, "cannot write", place / "texts.jsonl")


def test_two_sets_of_one_name_are_refused(cli, recipe, speech, tmp_path):
    (tmp_path / "dev.jsonl").write_text((speech / "dev.jsonl").read_text())
    both = [speech / "dev.jsonl", tmp_path / "dev.jsonl"]
    named = (*both, "'dev'", "rename")
    assert_refused(cli("eval", "builtin:student", "--data", both[0], "--data", both[1]), *named)
    assert_refused(cli("train", *recipe, f"data.eval=[{both[0]}, {both[1]}]"), *named)


def test_a_mistyped_model_is_refused_without_asking_the_network(cli, trained, speech):
    runs = trained.run.path.parent
    mistyped = trained.run.id.replace("shared", "share")
    refused = cli("eval", f"{mistyped}@12", "--data", speech / "dev.jsonl", "--runs", runs)
    assert_refused(refused, f"'{mistyped}@12'", runs, f"did you mean '{trained.run.id}'?")
    refused = cli("eval", f"{trained.run.id}@5", "--data", speech / "dev.jsonl", "--runs", runs)
    assert_refused(refused, trained.run.id, "step 5", "12, 16")


def test_a_folder_without_a_model_is_refused(cli, speech):
    assert_refused(cli("eval", speech, "--data", speech / "dev.jsonl"), "cannot load", speech)


def test_transcribe_needs_one_kind_of_input(cli):
    assert_refused(cli("transcribe", "builtin:student"), "audio files", "--input")


@pytest.fixture(scope="module")
def odd_speech(speech, tmp_path_factory) -> Path:
    """Good rows of every odd kind, and two bad ones."""
    folder = tmp_path_factory.mktemp("odd")
    clip, _ = soundfile.read(speech / "digits-clean-00000.wav", dtype="float32")
    soundfile.write(folder / "stereo.flac", np.stack([clip, 0.5 * clip], axis=1), RATE)
    soundfile.write(folder / "fast.wav", np.repeat(clip, 6), 96000)
    soundfile.write(folder / "hum.ogg", TONE, 8000)
    text = "one five four two"
    rows = [
        {"id": "stereo", "audio": "stereo.flac", "text": text},
        {"id": "96 kHz", "audio": "fast.wav", "text": text},
        {"id": "silent", "audio": "hum.ogg", "text": ""},
        {"id": "segment", "audio": "stereo.flac", "text": "one", "begin_time": 0, "end_time": 0.6},
    ]
    write_rows(folder / "good.jsonl", rows)
    bad = [
        {"id": "gone", "audio": "gone.wav", "text": "one"},
        {"id": "blip", **BAD_CLIPS["NaN"][0](folder), "text": ""},
    ]
    write_rows(folder / "mixed.jsonl", [bad[0], *rows, bad[1]])
    return folder


def test_stereo_96_khz_segments_and_empty_texts_train(cli, recipe, odd_speech, tmp_path):
    arguments = (f"data.train={odd_speech}/mixed.jsonl", "data.on_bad_audio=skip", "train.steps=2", "eval.after=false")
    done = cli("train", *recipe, *arguments, "eval.before=false", f"output={tmp_path}/runs", "--json")
    run = tmp_path / "runs" / done.json["run"]
    rows = pq.read_table(run / "rollouts" / "step-000001.parquet").to_pylist()
    assert {row["example_id"] for row in rows} == {"stereo", "96 kHz", "silent", "segment"}
    for row in rows:
        if row["example_id"] == "silent":
            words = len(row["text"].split())
            assert row["reward"] == -min(words, 1), "silence earns 0, words made up cost"
    heard = {row["example_id"]: soundfile.info(run / row["audio"]) for row in rows}
    assert all((info.samplerate, info.channels) == (RATE, 1) for info in heard.values())
    assert heard["segment"].duration == pytest.approx(0.6, abs=0.001)
    assert heard["96 kHz"].duration == pytest.approx(heard["stereo"].duration, abs=0.001)

    data = odd_speech / "mixed.jsonl"
    assert f"{data}: skipped 2 of 6 rows" in done.err
    log = (run / "log.txt").read_text()
    skips = re.findall(r"skipped \S+mixed\.jsonl: (line \d \(example \w+\)): (.*)", log)
    assert [place for place, _ in skips] == ["line 1 (example gone)", "line 6 (example blip)"]
    assert "no such file" in skips[0][1]
    assert "NaN" in skips[1][1]


def test_eval_counts_what_it_skips(cli, odd_speech):
    done = cli("eval", "builtin:student", "--data", odd_speech / "mixed.jsonl", "--on-bad-audio", "skip", "--json")
    assert (done.json["mixed"]["n"], done.json["mixed"]["skipped"]) == (4, 2)
    assert "skipped line 1 (example gone): " in done.err


def test_transcribe_skips_on_request_and_counts(cli, odd_speech, tmp_path):
    places = ("--input", odd_speech / "mixed.jsonl", "--output", tmp_path / "new" / "texts.jsonl")
    done = cli("transcribe", "builtin:student", *places, "--on-bad-audio", "skip", "--json")
    assert done.json["skipped"] == 2
    written = [json.loads(line) for line in (tmp_path / "new" / "texts.jsonl").read_text().splitlines()]
    assert [row["id"] for row in written] == ["stereo", "96 kHz", "silent", "segment"]
    assert written == done.json["results"]


def test_all_rows_bad_is_an_error_even_when_skipping(cli, recipe, tmp_path):
    data = write_rows(tmp_path / "data.jsonl", [{"id": "x", "audio": "gone.wav", "text": "one"}])
    refused = cli("train", *recipe, f"data.train={data}", "data.on_bad_audio=skip")
    assert_refused(refused, data, "example x", "gone.wav", "correct")
