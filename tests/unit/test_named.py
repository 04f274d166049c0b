"""Corpora by name, read from folders in the form that their repositories have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from tiny_hub import flac, write_repository
from typer.testing import CliRunner

from antiphon.cli.data import app
from antiphon.data import named
from antiphon.data.forms import named_sets, reader_of
from antiphon.data.readers import named as reader
from antiphon.data.rows import ReadOptions
from antiphon.data.source import read_set
from antiphon.errors import ConfigError
from antiphon.types import Example


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    datasets.disable_progress_bars()
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def rows(*texts: str, key: str = "text", **more: Any) -> list[dict[str, Any]]:
    audio = {"bytes": flac(np.zeros(1600)), "path": "a.flac"}
    return [
        {"audio": audio, key: text, **{name: values[n] for name, values in more.items()}}
        for n, text in enumerate(texts)
    ]


def read(spec: str, **options: Any) -> list[Example]:
    return list(read_set(spec, ReadOptions(**options)).require_good().examples)


def test_a_set_has_the_corpuss_task_and_language(tmp_path):
    table = rows("A B", "C", id=["84-1", "84-2"], speaker_id=[84, 85], chapter_id=[1, 2])
    copy = write_repository(tmp_path / "copy", {("clean", "validation"): table, ("clean", "test"): table[:1]})
    assert reader_of("librispeech:dev-clean") is reader
    found = read(f"librispeech:dev-clean:{copy}")
    assert [(e.id, e.text, e.speaker, e.language, e.task) for e in found] == [
        ("84-1", "A B", "84", "en", "asr"),
        ("84-2", "C", "85", "en", "asr"),
    ]
    assert len(read(f"librispeech:test-clean:{copy}")) == 1
    assert list(named_sets(["librispeech:dev-clean", "librispeech:test-other"])) == [
        "librispeech-dev-clean",
        "librispeech-test-other",
    ]


def test_the_first_eight_clips(tmp_path, monkeypatch):
    copy = write_repository(tmp_path / "copy", {("clean", "validation"): rows(*"abcdefghij")})
    monkeypatch.setitem(
        named.CORPORA, "librispeech-dummy", named.replace(named.CORPORA["librispeech-dummy"], repo=str(copy))
    )
    assert [one.text for one in read("librispeech-dummy")] == list("abcdefgh")
    assert len(read("librispeech-dummy", limit=3)) == 3
    assert len(read("librispeech-dummy:all")) == 10


@pytest.mark.parametrize("limit", [None, 1])
def test_sets_by_language_come_from_the_branch_with_parquet(tmp_path, limit):
    table = rows(
        "Guten Tag.", "Ja.", key="transcription", raw_transcription=["x", "y"], id=[5, 5], language=["German"] * 2
    )
    folder = tmp_path / "copy" / "de_de" / "test"
    write_repository(tmp_path / "aside", {("de_de", "test"): table})
    folder.mkdir(parents=True)
    (tmp_path / "aside" / "de_de" / "test-00000-of-00001.parquet").rename(folder / "0000.parquet")
    found = read(f"fleurs:de_de:{tmp_path / 'copy'}", limit=limit)
    assert [(one.text, one.language) for one in found] == [("Guten Tag.", "de"), ("Ja.", "de")][: limit or 2]
    source = named.find("fleurs:cmn_hans_cn:train")
    assert (source.language, source.source.files) == ("zh", "cmn_hans_cn/train/*.parquet")
    assert source.source.revision == named.CONVERTED


def test_sounds_are_classified_by_fold(tmp_path):
    table = rows("dog", "rain", "dog", key="category", fold=[1, 2, 1], filename=["a", "b", "c"], target=[0, 1, 0])
    copy = write_repository(tmp_path / "copy", {("default", "train"): table})
    assert [(one.id, one.text, one.task) for one in read(f"esc-50:fold1:{copy}")] == [
        ("a", "dog", "classify"),
        ("c", "dog", "classify"),
    ]
    assert len(read(f"esc-50:all:{copy}")) == 3
    assert len(read(f"esc-50:fold1:{copy}", limit=1)) == 1


def test_a_corpuss_notation_becomes_text(tmp_path):
    table = rows("YES <COMMA> I DO <PERIOD>", "<MUSIC>", begin_time=[100.0, 300.0], end_time=[101.0, 305.0])
    copy = write_repository(tmp_path / "copy", {("dev", "dev"): table})
    first, second = read(f"gigaspeech:dev:{copy}")
    assert (first.text, second.text) == ("YES, I DO.", "")
    assert len(first.clip.load(16000)) == 1600, "its times are those of the whole episode"


def test_wenetspeech_has_ids_and_times_of_episodes(tmp_path):
    table = rows("你好", "再见", sid=["Y1", "Y2"], begin_time=[70.1, 90.0], end_time=[71.0, 91.0], WavPath=["a", "b"])
    copy = write_repository(tmp_path / "copy", {("default", "test_net"): table})
    found = read(f"wenetspeech:test-net:{copy}")
    assert [(one.id, one.text, one.language, one.clip.begin) for one in found] == [
        ("Y1", "你好", "zh", None),
        ("Y2", "再见", "zh", None),
    ]


def test_questions_with_choices_are_asked(tmp_path):
    table = [
        {"audio": {"bytes": flac(np.zeros(1600)), "path": None}, "instruction": "Who?", "choices": ["a man", "a dog"]}
    ]
    write_repository(tmp_path / "copy", {("MMAU-mini", "test"): [{**table[0], "answer": "a dog"}]})
    (one,) = read(f"mmau:test-mini:{tmp_path / 'copy'}", columns={"audio": "audio"})
    assert (one.task, one.text) == ("classify", "a dog")
    assert one.columns["prompt"] == "Who?\nRespond with one of these, word for word: a man; a dog"


@pytest.mark.parametrize("limit", [None, 2])
def test_poems_are_written_about_their_keywords(tmp_path, limit):
    (tmp_path / "copy").mkdir()
    table = {"keywords": [f"Topic {n}" for n in range(1003)], "text": [f"poem {n}" for n in range(1003)]}
    datasets.Dataset.from_dict(table).to_parquet(str(tmp_path / "copy" / "train.parquet"))
    train = read(f"statworx/haiku:train:{tmp_path / 'copy'}", limit=limit)
    assert len(train) == (limit or 3)
    assert (train[0].columns["prompt"], train[0].text) == ("Write me a haiku about topic 0.", "poem 0")
    assert (train[0].task, train[0].clip) == ("text", None)
    assert read(f"haiku:test:{tmp_path / 'copy'}", limit=1)[0].text == "poem 3"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("librispeech:dev", "librispeech has no set 'dev'; there are: test-clean, dev-clean"),
        ("fleurs", "fleurs has a set for each language; name one, such as fleurs:de_de"),
        ("librispeach:dev-clean", "no reader claims 'librispeach:dev-clean'; did you mean 'librispeech:'"),
    ],
)
def test_a_name_that_there_is_not_is_refused_with_the_nearest(spec, message):
    with pytest.raises(ConfigError, match=message):
        read(spec)


@pytest.mark.parametrize("name", sorted(named.CORPORA))
def test_every_set_of_a_corpus_is_found(name):
    corpus = named.CORPORA[name]
    names = [named.find(spec).name for spec in corpus.specs(name)]
    assert len(set(names)) == len(names) > 0
    assert corpus.task in ("asr", "classify", "text")
    assert corpus.license


def test_files_of_a_corpuss_name_are_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("fleurs").write_text('{"audio": "a.wav", "text": "x"}\n')
    assert not reader.claims("fleurs")


def test_corpora_are_listed_and_shown():
    run = CliRunner().invoke
    listed = json.loads(run(app, ["list", "--json"]).stdout)
    assert {"librispeech", "esc-50", "haiku"} <= {one["name"] for one in listed}
    shown = json.loads(run(app, ["show", "librispeech", "--json"]).stdout)
    assert "librispeech:dev-clean" in shown["sets"]
    assert shown["splits"]["dev-clean"] == ["clean", "validation"]
    assert "nothing" in json.loads(run(app, ["show", "speech_commands", "--json"]).stdout)["seen"]
    assert "librispeech:dev-clean" in run(app, ["show", "librispeech"]).stdout
    assert isinstance(run(app, ["show", "librispeach"]).exception, ConfigError)
