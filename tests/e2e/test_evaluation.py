"""Evaluations that are kept: results folders, presets, interruptions, non-speech, and comparisons."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import datasets
import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
from conftest import write_rows, write_set
from processes import run_and_kill
from tiny_hub import flac, write_repository

from antiphon.cli import options
from antiphon.config import load_config
from antiphon.data.corpora.sets import builtin_set
from antiphon.data.readers import open_asr
from antiphon.evaluate.normalizers import load_normalizer
from antiphon.evaluate.sets import evaluate_sets
from antiphon.evaluate.subject import LocalModel


class Quiet:
    """Takes the place of the terminal."""

    def phase(self, title: str, total: int | None = None) -> None: ...
    def advance(self, done: int) -> None: ...
    def noted(self, message: str) -> None: ...


@pytest.fixture(scope="module")
def sets(tmp_path_factory) -> Path:
    """A folder with `test_clean.jsonl` and `test_noisy.jsonl`, and `silence.jsonl` without speech."""
    folder = tmp_path_factory.mktemp("sets")
    write_set(folder / "test_clean.jsonl", "commands-clean", 4)
    write_set(folder / "test_noisy.jsonl", "commands-noisy", 24)
    hiss = np.random.default_rng(0).normal(0, 0.05, 16000)
    soundfile.write(folder / "hiss.wav", hiss, 16000)
    soundfile.write(folder / "nothing.wav", 1e-4 * hiss, 16000)
    write_rows(folder / "silence.jsonl", [{"audio": f"{name}.wav", "text": ""} for name in ("hiss", "nothing")])
    return folder


@pytest.fixture(scope="module")
def student() -> LocalModel:
    model_options = options.ModelOptions("cpu", "float32", side_by_side=2, max_new_tokens=32)
    subject = model_options.subject("builtin:student")
    assert isinstance(subject, LocalModel)
    return subject


@pytest.fixture(scope="module")
def results(cli, sets, tmp_path_factory) -> dict[str, Path]:
    """Evaluations of the student, twice, and of its teacher, by their folders."""
    place = tmp_path_factory.mktemp("results")
    presets = ("--data-dir", sets, "--presets", "clean", "noisy")
    for name, model, batch in (("student", "student", 8), ("again", "student", 3), ("teacher", "teacher", 8)):
        cli("eval", f"builtin:{model}", *presets, "--output", place / name, "--batch-size", batch)
    return {folder.name: folder for folder in place.iterdir()}


def test_presets_are_the_test_files_of_a_folder(results):
    summary = json.loads((results["student"] / "summary.json").read_text())
    assert list(summary["sets"]) == ["test_clean", "test_noisy"]
    assert summary["model"] == "builtin:student"
    noisy = summary["sets"]["test_noisy"]
    assert (noisy["n"], noisy["concurrency"], noisy["precision"], noisy["ci_unit"]) == (24, 8, "float32", "utterance")
    assert noisy["normalizer"].startswith("default 3 (")
    rows = pq.read_table(results["student"] / "test_noisy.parquet").to_pylist()
    assert [row["wer_errors"] for row in rows] == sorted((row["wer_errors"] for row in rows), reverse=True)


def test_the_report_is_one_page_with_sound(results):
    html = (results["student"] / "report.html").read_text()
    assert '<h2 id="test_noisy">test_noisy <small>the ' in html
    assert html.count("<audio") > 3
    assert "<del>" in html


def test_the_leaderboards_sets_are_measured_by_one_option(cli, tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    example = builtin_set("commands-clean")[0]
    assert example.clip is not None
    audio = {"bytes": flac(example.clip.load(16000)), "path": "0.flac"}
    rows = [{"audio": audio, "text": example.text.upper(), "id": "one"}]
    copy = write_repository(tmp_path / "copy", dict.fromkeys(open_asr.SETS.values(), rows))
    arguments = ("eval", "builtin:student", "--preset", "open-asr", "--data-dir", copy)
    figures = cli(*arguments, "--limit", 1, "--json").json
    assert list(figures) == list(open_asr.SETS)
    assert {one["wer"] for one in figures.values()} == {0.0}
    assert all(one["normalizer"].startswith("open-asr 1 (") for one in figures.values())
    other = cli(*arguments, "--limit", 1, "--normalizer", "none", "--json").json
    assert {one["normalizer"] for one in other.values()} == {"none"}
    assert "--preset and --presets are two ways" in cli(*arguments, "--presets", "clean").err
    assert "nothing to measure on; name a set with --data" in cli("eval", "builtin:student").err


def test_presets_that_are_not_there_are_named(cli, sets):
    refused = cli("eval", "builtin:student", "--data-dir", sets, "--presets", "clean", "meeting")
    assert refused.status == 2
    assert "has no test_meeting.jsonl; its presets are: clean, noisy (--presets)" in refused.err
    alone = cli("eval", "builtin:student", "--presets", "clean")
    assert "--data-dir and --presets belong together" in alone.err
    stray = cli("eval", "builtin:student", "builtin:teacher", "--data", "builtin:digits-clean")
    assert "unexpected argument 'builtin:teacher'" in stray.err


def test_two_models_that_differ_are_told_apart_and_one_model_is_not(cli, results):
    better = cli("compare", results["student"], results["teacher"], "--json").json
    noisy = next(one for one in better["sets"] if one["set"] == "test_noisy")
    assert noisy["significant"]
    assert noisy["rate_b"] < noisy["rate_a"]
    assert "fewer errors than" in noisy["sentence"]
    assert better["a"]["weights"] != better["b"]["weights"]
    same = cli("compare", results["student"], results["again"], "--json").json
    assert same["a"]["weights"] == same["b"]["weights"]
    assert not any(one["significant"] for one in same["sets"])


def test_models_are_compared_on_sets_too_and_people_get_a_sentence(cli, sets, tmp_path):
    arguments = ("--data", sets / "test_clean.jsonl", "--output", tmp_path / "both")
    shown = cli("compare", "builtin:student", "builtin:student", *arguments)
    assert shown.status == 0, shown.err
    assert "builtin:student makes exactly as many errors as builtin:student on test_clean" in shown.out
    assert {"a", "b"} == {folder.name for folder in (tmp_path / "both").iterdir()}


def test_what_compare_needs_is_said(cli, results):
    neither = cli("compare", results["student"], "builtin:student")
    assert (
        "builtin:student is not an evaluation (antiphon eval --output); to compare two models, name sets" in neither.err
    )
    both = cli("compare", results["student"], results["again"], "--data", "builtin:digits-clean")
    assert "leave out --data" in both.err


def test_an_interrupted_evaluation_goes_on_where_it_stopped(student, sets, tmp_path):
    asked: list[int] = []

    def until_killed(prompts, max_new_tokens):
        if len(asked) == 1:
            raise KeyboardInterrupt
        asked.append(len(prompts))
        return student.decode(prompts, max_new_tokens)

    def counted(prompts, max_new_tokens):
        asked.append(len(prompts))
        return student.decode(prompts, max_new_tokens)

    def evaluated(decode, rules="default", output=tmp_path):
        subject, files = replace(student, decode=decode), {"noisy": str(sets / "test_noisy.jsonl")}
        return evaluate_sets(subject, files, load_config(), load_normalizer(rules), Quiet(), 12, output=output)

    with pytest.raises(KeyboardInterrupt):
        evaluated(until_killed)
    assert not (tmp_path / "summary.json").exists()
    whole = evaluated(counted)
    assert asked == [8, 4], "the first portion is kept"
    evaluated(counted, rules="none")
    assert asked == [8, 4], "other rules need no new transcripts"
    assert whole.sets["noisy"]["rtfx"] > 0
    in_one_go = evaluated(counted, output=None)
    assert in_one_go.rows == whole.rows


def test_results_of_another_model_are_not_continued(cli, results, sets):
    refused = cli("eval", "builtin:teacher", "--data", sets / "test_clean.jsonl", "--output", results["again"])
    assert refused.status == 2
    assert "holds transcripts made with weights" in refused.err


def test_words_made_up_in_silence_are_a_rate_of_their_own(cli, sets, tmp_path):
    figures = cli("eval", "builtin:student", "--data", sets / "silence.jsonl", "--output", tmp_path, "--json").json
    silence = figures["silence"]
    heard = [row["pred_clean"] for row in pq.read_table(tmp_path / "silence.parquet").to_pylist()]
    assert (silence["wer"], silence["non_speech"]) == (None, 2)
    assert silence["hallucination_rate"] == sum(map(bool, heard)) / 2


def test_a_normalizer_of_the_users_own(cli, sets, tmp_path):
    (tmp_path / "rules.py").write_text("def blank(text):\n    return 'x' if text else ''\n")
    rules = ("--normalizer", f"{tmp_path}/rules.py:blank")
    figures = cli("eval", "builtin:student", "--data", sets / "test_clean.jsonl", *rules, "--json").json["test_clean"]
    assert (figures["wer"], figures["ref_words"]) == (0.0, 4)
    assert figures["normalizer"].startswith(f"{tmp_path}/rules.py:blank (sha256 ")


def test_an_evaluation_killed_in_the_middle_is_taken_up_by_the_same_command(cli, tmp_path):
    rows = ["--data", "builtin:digits-noisy", "--limit", "40"]
    command = ["eval", "builtin:student", *rows, "--batch-size", "2", "--output", str(tmp_path / "killed")]
    kept = tmp_path / "killed" / "transcripts" / "digits-noisy.jsonl"
    run_and_kill(*command, folder=tmp_path, when=lambda: kept.exists() and kept.read_bytes().count(b"\n") > 1)
    assert not (tmp_path / "killed" / "summary.json").exists()
    with kept.open("ab") as file:
        file.write(b'{"batch_size": 2, "rows": [{"id": "to')
    before = kept.read_bytes().split(b"\n")[:-1]
    resumed = cli(*command, "--json").json["digits-noisy"]
    after = kept.read_bytes().split(b"\n")
    assert after[: len(before)] == before, "what was there is there, and a line half written is not"
    assert sum(len(json.loads(line)["rows"]) for line in after[1:-1]) == 40, "nothing is recognized twice"
    whole = cli("eval", "builtin:student", *rows, "--json").json["digits-noisy"]
    speed = {"rtfx", "concurrency"}
    assert {key: resumed[key] for key in resumed.keys() - speed} == {key: whole[key] for key in whole.keys() - speed}
