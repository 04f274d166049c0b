"""Bad input through the command line: exit status 2, one clear message on stderr, no traceback, no run folder."""

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
        "gone.wav: no such file; correct the path (a JSONL row's path is relative to the JSONL file)",
    ),
    "zero length": (zero_length, "a.wav: the file is empty (0 bytes); copy or record it again"),
    "truncated FLAC": (truncated_flac, "a.flac: truncated or damaged: "),
    "text": (text_file, "a.wav: holds text, not audio (it begins 'three one four"),
    "NaN": (with_nan, "a.wav: samples are NaN or infinite, the first at 0.25 s; export it again or remove the row"),
    "segment beyond the end": (
        lambda folder: tone(folder, begin_time=0.5, end_time=9),
        "a.wav: the segment from 0.5 s to 9 s is beyond the end of the file, which lasts 1 s; "
        "correct begin_time or end_time",
    ),
    "over-long": (
        lambda folder: tone(folder, seconds=31),
        "a.wav is 31 s, longer than data.max_seconds=30; split it, raise the limit or set data.on_bad_audio: skip",
    ),
}


def assert_refused(outcome: Outcome, message: str) -> None:
    assert outcome.status == 2, outcome
    assert outcome.err.startswith("error: ")
    assert message in outcome.err
    assert outcome.out == ""
    assert "Traceback" not in outcome.err


@pytest.mark.parametrize("case", BAD_CLIPS)
def test_a_bad_clip_stops_training_before_it_starts(cli, recipe, speech, tmp_path, case):
    make, message = BAD_CLIPS[case]
    good = {"audio": str(speech / "digits-clean-00000.wav"), "text": "one five four two"}
    data = write_rows(tmp_path / "data.jsonl", [good, {"id": "bad", "text": "three", **make(tmp_path)}])
    refused = cli("train", *recipe, f"data.train={data}", f"output={tmp_path}/runs", "--json")
    assert_refused(refused, message)
    assert f"{data}: 1 of 2 row(s) cannot be used:\n  line 2 (example bad): " in refused.err
    assert "leave them out with data.on_bad_audio: skip" in refused.err
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("case", BAD_CLIPS)
def test_a_bad_clip_is_refused_by_eval_too(cli, tmp_path, case):
    make, message = BAD_CLIPS[case]
    data = write_rows(tmp_path / "data.jsonl", [{"text": "three", **make(tmp_path)}])
    assert_refused(cli("eval", "builtin:student", "--data", data, "--json"), message)


@pytest.mark.parametrize("case", sorted(set(BAD_CLIPS) - {"over-long", "segment beyond the end"}))
def test_transcribe_names_the_bad_file(cli, tmp_path, case):
    make, message = BAD_CLIPS[case]
    refused = cli("transcribe", "builtin:student", tmp_path / make(tmp_path)["audio"])
    assert_refused(refused, message)
    assert "--on-bad-audio skip" in refused.err


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"audio": "a.wav", "text": "one"', "line 1: not valid JSON at column 33"),
        ('{"audio": "a.wav"}', 'line 1: the row has no "text", only "audio"'),
        ('["a.wav", "one"]', "line 1: the line holds a list, not a JSON object"),
        ('{"audio": "a.wav", "text": "one", "task": "ars"}', 'line 1: unknown task "ars"; did you mean "asr"?'),
        ("", "the set has no rows; add at least one"),
    ],
)
def test_a_malformed_line_is_named(cli, recipe, tmp_path, line, message):
    (tmp_path / "data.jsonl").write_text(line + "\n")
    assert_refused(cli("train", *recipe, f"data.train={tmp_path}/data.jsonl"), f"{message}")


REFUSED_RECIPES = {
    "rollout.group_sise=4": (
        "unknown key 'rollout.group_sise' in the override 'rollout.group_sise=4'; did you mean 'rollout.group_size'?"
    ),
    "lerning_rate=1": "unknown key 'lerning_rate' in the override 'lerning_rate=1'",
    "rollout.group_size=four": "'rollout.group_size' in the override 'rollout.group_size=four' must be a whole number",
    "optimizer.lr=0": "'optimizer.lr' in the override 'optimizer.lr=0' must be more than 0, got 0",
    "algorithm=grop": "unknown algorithm 'grop'",
    "algorithm={name: grpo, betta: 1}": "unknown key 'algorithm.betta'; did you mean 'algorithm.beta'?",
    "reward=wre": "unknown reward 'wre' in 'reward'; did you mean 'wer'?",
    "reward=gone.py:f": "there is no file gone.py",
    "task=ars": 'unknown task "ars"; did you mean "asr"?',
    "model=builtin:stduent": "there is no built-in model 'stduent'; did you mean builtin:student?",
    "model=nowhere": "no model 'nowhere': no folder, no run in ",
    "data.train=builtin:digits-noise": "there is no built-in set 'digits-noise'; choose one of: digits-train, ",
    "data.train=gone.jsonl": "gone.jsonl: cannot be read (No such file or directory); correct the path",
    "data.train=null": "no training data; give --data FILE.jsonl, or data.train=builtin:commands-train",
    "rollout.prompts_per_step=9": (
        "the training set has 8 usable examples, fewer than rollout.prompts_per_step=9; lower that to 8 or add data"
    ),
}


@pytest.mark.parametrize("override", REFUSED_RECIPES)
def test_a_wrong_recipe_is_refused(cli, recipe, tmp_path, override):
    refused = cli("train", *recipe, f"output={tmp_path}/runs", override, "--json")
    assert_refused(refused, REFUSED_RECIPES[override])
    assert not (tmp_path / "runs").exists()


def test_a_wrong_key_in_a_recipe_file_is_named_with_the_file(cli, tmp_path):
    (tmp_path / "recipe.yaml").write_text("rollout:\n  temprature: 0.7\n")
    refused = cli("train", tmp_path / "recipe.yaml")
    assert_refused(
        refused,
        f"unknown key 'rollout.temprature' in {tmp_path}/recipe.yaml; did you mean 'rollout.temperature'?",
    )


def test_malformed_yaml_is_placed(cli, tmp_path):
    (tmp_path / "recipe.yaml").write_text("rollout:\n  group_size: [4\n")
    assert_refused(
        cli("train", tmp_path / "recipe.yaml"), f"malformed YAML in {tmp_path}/recipe.yaml, line 3, column 1"
    )


def test_what_is_neither_recipe_nor_override_is_named(cli):
    assert_refused(cli("train", "a=1", "recipe.yaml"), "'recipe.yaml' is neither the recipe (which comes first) nor")


def test_a_run_folder_that_cannot_be_made_is_named(cli, recipe, tmp_path):
    (tmp_path / "file").touch()
    output = tmp_path / "file" / "runs"
    refused = cli("train", *recipe, "eval.before=false", f"output={output}")
    assert_refused(refused, f"cannot make a run folder in {output}: Not a directory; set output=FOLDER to one that can")


def test_output_that_cannot_be_written_is_refused_before_the_work(cli, speech, tmp_path):
    (tmp_path / "file").touch()
    place = tmp_path / "file" / "results"
    data = speech / "dev.jsonl"
    refused = cli("eval", "builtin:student", "--data", data, "--output", place)
    assert_refused(refused, f"cannot write {place}: Not a directory")
    refused = cli("transcribe", "builtin:student", "--input", data, "--output", place / "texts.jsonl")
    assert_refused(refused, f"cannot write {place}/texts.jsonl: ")


def test_two_sets_of_one_name_are_refused(cli, recipe, speech, tmp_path):
    (tmp_path / "dev.jsonl").write_text((speech / "dev.jsonl").read_text())
    both = [speech / "dev.jsonl", tmp_path / "dev.jsonl"]
    message = f"{both[0]} and {both[1]} would both be reported as 'dev'; rename one of the files"
    assert_refused(cli("eval", "builtin:student", "--data", both[0], "--data", both[1]), message)
    assert_refused(cli("train", *recipe, f"data.eval=[{both[0]}, {both[1]}]"), message)


def test_a_mistyped_model_is_refused_without_asking_the_network(cli, trained, speech):
    runs = trained.run.path.parent
    mistyped = trained.run.id.replace("shared", "share")
    refused = cli("eval", f"{mistyped}@12", "--data", speech / "dev.jsonl", "--runs", runs)
    assert_refused(refused, f"no model '{mistyped}@12': no folder, no run in {runs} and no hub id (OWNER/NAME)")
    assert f"did you mean '{trained.run.id}'?" in refused.err
    refused = cli("eval", f"{trained.run.id}@5", "--data", speech / "dev.jsonl", "--runs", runs)
    assert_refused(refused, "has no checkpoint of step 5; it has those of 12, 16")


def test_a_folder_without_a_model_is_refused(cli, speech):
    assert_refused(cli("eval", speech, "--data", speech / "dev.jsonl"), f"cannot load model '{speech}': ")


def test_transcribe_needs_one_kind_of_input(cli):
    assert_refused(cli("transcribe", "builtin:student"), "give audio files, or --input F.jsonl, one of the two")


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
    assert_refused(refused, "No example is left; correct the data")
