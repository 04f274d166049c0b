"""Data sets in the hub's form, from folders: what becomes of their columns and recordings, and what is refused."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from tiny_hub import flac, write_repository

from antiphon.config import load_config
from antiphon.data.check import check
from antiphon.data.forms import named_sets
from antiphon.data.readers import hub, open_asr
from antiphon.data.readers.hub import HubSet
from antiphon.data.rows import ReadOptions
from antiphon.data.source import load_set, read_set
from antiphon.data.stats import stats
from antiphon.errors import AudioError, ConfigError, DataError, MissingExtraError
from antiphon.types import Example


def load_hub(source: HubSet, **options: Any) -> list[Example]:
    return read_set(str(source), ReadOptions(**options)).require_good().examples


def rows(*texts: str | None, key: str = "text", **more: Any) -> list[dict[str, Any]]:
    return [
        {"audio": {"bytes": flac(np.linspace(-0.5, 0.5, 8000 + 800 * n)), "path": f"{n}.flac"}, key: text, **more}
        for n, text in enumerate(texts)
    ]


def german(folder: Path, table: list[dict[str, Any]]) -> HubSet:
    return HubSet(str(write_repository(folder / "set", {("de", "test"): table})), "de")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.mark.parametrize(
    ("spec", "expected", "name"),
    [
        ("hf:google/fleurs", HubSet("google/fleurs", None, "test"), "fleurs"),
        ("hf:google/fleurs:de_de", HubSet("google/fleurs", "de_de", "test"), "de_de"),
        ("hf:google/fleurs:de_de:validation", HubSet("google/fleurs", "de_de", "validation"), "de_de-validation"),
        ("hf:/data/mine::train", HubSet("/data/mine", None, "train"), "mine-train"),
    ],
)
def test_a_set_is_named_by_id_configuration_and_split(spec, expected, name):
    assert HubSet.parse(spec) == expected
    assert list(named_sets([spec])) == [name]


@pytest.mark.parametrize("spec", ["hf:", "hf:a:b:c:d"])
def test_a_name_that_is_none_is_refused(spec):
    with pytest.raises(ConfigError, match="is not a set; write hf:REPO_OR_FOLDER:CONFIG:SPLIT"):
        HubSet.parse(spec)


def test_rows_are_examples_whose_recordings_we_decode(tmp_path):
    source = german(tmp_path, rows("eins", "zwei drei", key="sentence", speaker=7, accent="north"))
    examples = load_hub(source)
    assert [(one.text, one.speaker, dict(one.columns)) for one in examples] == [
        ("eins", "7", {"accent": "north"}),
        ("zwei drei", "7", {"accent": "north"}),
    ]
    clip = examples[1].clip
    assert clip is not None
    assert len(clip.load(16000)) == 8800
    assert len(clip.load(8000)) == 4400
    assert clip.name == f"{source}#1"
    first = load_hub(source, limit=1)
    assert [one.text for one in first] == ["eins"]
    assert first[0].id == examples[0].id != examples[1].id
    assert first[0].clip == examples[0].clip, "streamed or not, it is the same recording"


def test_ids_of_the_set_are_kept_where_they_tell_rows_apart(tmp_path):
    table = [{**row, "id": id} for row, id in zip(rows("a", "b"), ("x", "y"), strict=True)]
    assert [one.id for one in load_hub(german(tmp_path / "1", table))] == ["x", "y"]
    same = german(tmp_path / "2", [{**row, "id": "x"} for row in table])
    first, second = (one.id for one in load_hub(same))
    assert first == "x" != second
    assert [one.id for one in load_hub(same, limit=1)] == ["x"], "a limit changes no id"


def test_recordings_may_lie_beside_the_table(tmp_path):
    (tmp_path / "a.flac").write_bytes(flac(np.zeros(8000)))
    table = rows("a", "b")
    for row, name in zip(table, ("a.flac", "gone.flac"), strict=True):
        row["audio"] = {"bytes": None, "path": str(tmp_path / name)}
    there, gone = load_hub(german(tmp_path, table))
    assert len(there.clip.load(16000)) == 8000
    with pytest.raises(AudioError, match=r"gone\.flac: no such file"):
        gone.clip.load(16000)


@pytest.mark.parametrize("split", [None, "dev"])
def test_what_datasets_has_saved_is_a_set_too(tmp_path, split):
    table = datasets.Dataset.from_list(rows("a", "b")).cast_column("audio", datasets.Audio(decode=False))
    (datasets.DatasetDict({split: table}) if split else table).save_to_disk(tmp_path / "saved")
    examples = load_hub(HubSet(str(tmp_path / "saved"), None, split or "test"))
    assert [one.text for one in examples] == ["a", "b"]
    assert len(examples[1].clip.load(16000)) == 8800


def test_a_row_without_a_recording_is_named(tmp_path):
    whole, empty = rows("a", "b")
    empty["audio"] = {"bytes": None, "path": None}
    _, example = load_hub(german(tmp_path, [whole, empty]))
    with pytest.raises(AudioError, match="#1: the row has no recording"):
        example.clip.load(16000)


def test_a_folder_that_has_changed_is_read_anew_and_another_of_its_name_is_another(tmp_path):
    said = [
        load_hub(german(tmp_path / folder, rows(text)))[0].text
        for folder, text in (("1", "first"), ("2", "second"), ("1", "third"))
    ]
    assert said == ["first", "second", "third"]


def test_the_set_passes_the_same_checks_as_a_file(tmp_path):
    source = german(tmp_path, rows("a", "b", "c", "d", "e"))
    config = load_config(flags={"data.max_seconds": 0.6, "data.on_bad_audio": "skip"})
    kept, skipped = load_set(str(source), config)
    assert [one.text for one in kept] == ["a", "b", "c"]
    assert "is 0.65 s, longer than data.max_seconds=0.6" in str(skipped[0])


def test_a_damaged_recording_is_named(tmp_path):
    table = rows("a")
    table[0]["audio"]["bytes"] = b"\x00\x01\x02" * 99
    source = german(tmp_path, table)
    with pytest.raises(DataError, match=r"hf:.*:de:test#0: not audio"):
        load_set(str(source), load_config())
    with pytest.raises(AudioError, match="#0: not audio"):
        load_hub(source)[0].clip.load(16000)


def test_rows_without_text_are_refused_unless_they_may_be(tmp_path):
    source = german(tmp_path, rows("a", None))
    with pytest.raises(DataError, match=r"1 of 2 row\(s\) cannot be used:\n  row 1: \"text\" is null"):
        load_hub(source)
    assert [one.text for one in load_hub(source, text_required=False)] == ["a", ""]


def test_recordings_in_a_column_of_paths(tmp_path):
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "a b.flac").write_bytes(flac(np.zeros(8000)))
    (tmp_path / "test.csv").write_text("path,sentence,client_id\nclips/a b.flac,eins,x\n")
    (one,) = load_hub(HubSet(str(tmp_path)), columns={"audio": "path"})
    assert (one.text, one.speaker, len(one.clip.load(16000))) == ("eins", "x", 8000)
    (other,) = load_hub(HubSet(str(tmp_path)), columns={"audio": "path", "text": "client_id"}, limit=1)
    assert (other.text, len(other.clip.load(16000))) == ("x", 8000)


def test_what_is_not_there_is_said(tmp_path):
    repository = german(tmp_path, rows("a")).repo
    for source, columns, message in (
        (
            HubSet(repository, "fr"),
            {},
            "cannot be loaded .*'fr' not found. Available: .*; correct hf:REPO:CONFIG:SPLIT",
        ),
        (HubSet(repository, "de", "dev"), {}, "cannot be loaded .*Available splits: .'test'.*; correct"),
        (HubSet(f"{repository}/nowhere"), {}, "cannot be loaded"),
        (HubSet(repository, "de"), {"text": "said"}, "has no column 'said'; its columns are audio, text"),
        (HubSet(repository, "de"), {"audio": "sound"}, "has no audio column 'sound'; its columns are audio, text"),
    ):
        with pytest.raises(DataError, match=message):
            load_hub(source, columns=columns, limit=1)


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (ConnectionError("Couldn't reach 'a/b' on the Hub"), "check the connection, or give a folder with a copy"),
        (
            FileNotFoundError("Dataset 'a/b' doesn't exist on the Hub"),
            "doesn't exist on the Hub.; correct hf:REPO:CONFIG",
        ),
        (ImportError("please install 'torchcodec'."), "recordings in Parquet, or convert"),
        (ValueError("Dataset 'a/b' is a gated dataset on the Hub."), "accept its conditions on its page, and log in"),
    ],
)
def test_a_hub_that_does_not_answer_or_asks_for_a_login_is_told_with_a_remedy(monkeypatch, error, remedy):
    def refuse(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(datasets, "load_dataset", refuse)
    with pytest.raises(DataError, match=remedy):
        load_hub(HubSet("a/b"))


def test_the_leaderboards_sets_are_its_scored_rows_in_english(tmp_path, monkeypatch):
    table = rows("Hello.", "[noise]", "ignore time segment in scoring", "Colour!")
    copy = write_repository(tmp_path / "copy", {("ami_cleaned", "test"): table})
    monkeypatch.setattr(open_asr, "REPO", str(copy))
    assert "open-asr:librispeech-other" in open_asr.specs()
    for spec in ("open-asr:ami", f"open-asr:ami:{copy}"):
        examples, _ = load_set(spec, load_config())
        assert [(one.text, one.language) for one in examples] == [("Hello.", "en"), ("Colour!", "en")]
        assert list(named_sets([spec])) == ["ami"]
    with pytest.raises(ConfigError, match="has no set 'amy'; did you mean 'ami'"):
        load_set("open-asr:amy", load_config())


def test_every_set_of_the_leaderboard_is_asked_for_by_its_id(monkeypatch):
    asked = []

    def record(source: HubSet, *_: Any) -> list:
        asked.append(str(source))
        return []

    monkeypatch.setattr(hub, "rows", record)
    for spec in open_asr.specs():
        list(open_asr.read(spec, ReadOptions()))
    assert asked == [
        "hf:hf-audio/open-asr-leaderboard:ami_cleaned:test",
        "hf:hf-audio/open-asr-leaderboard:earnings22:test",
        "hf:hf-audio/open-asr-leaderboard:gigaspeech_cleaned:test",
        "hf:hf-audio/open-asr-leaderboard:librispeech:test.clean",
        "hf:hf-audio/open-asr-leaderboard:librispeech:test.other",
        "hf:hf-audio/open-asr-leaderboard:spgispeech:test",
        "hf:hf-audio/open-asr-leaderboard:voxpopuli_cleaned_aa:test",
    ]


def test_labels_are_their_names(tmp_path):
    features = {"kind": datasets.ClassLabel(names=["yes", "no"])}
    assert hub._in_words({"kind": 1, "n": 4}, {**features, "n": datasets.Value("int64")}) == {"kind": "no", "n": 4}


def test_without_datasets_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtraError, match=r"reading hf:a/b::test needs .* pip install 'antiphon\[hub\]'"):
        load_hub(HubSet("a/b"))


def test_a_set_is_checked_and_counted_as_a_file_is(tmp_path):
    table = rows("eins", None, "zwei drei", language="de")
    table[2]["audio"]["bytes"] = b"\x00\x01\x02" * 99
    spec = str(german(tmp_path, table))
    report = check(spec)
    assert (report.rows, report.good, report.rates, report.languages) == (3, 1, {16000: 1}, {"de": 1})
    assert [row.line for row in report.bad] == ["row 1", "row 2"]
    found = stats(spec, ReadOptions(text_required=False, limit=2))
    assert (found.utterances, found.words, found.empty_texts, found.bad) == (2, 1, 1, [])


def write_folder(folder: Path, list: str, content: str) -> Path:
    for split in ("train", "test"):
        (folder / split).mkdir(parents=True)
        for name in ("a", "b"):
            (folder / split / f"{name}.flac").write_bytes(flac(np.zeros(8000)))
        (folder / split / list).write_text(content)
    return folder


@pytest.mark.parametrize(
    ("list", "content"),
    [
        ("metadata.csv", "file_name,transcription,locale\na.flac,eins,de\nb.flac,two,en\n"),
        (
            "metadata.jsonl",
            '{"file_name": "a.flac", "transcription": "eins", "locale": "de"}\n'
            '{"file_name": "b.flac", "transcription": "two", "locale": "en"}\n',
        ),
    ],
)
@pytest.mark.parametrize("spec", ["hf:{}", "{}/test"])
def test_a_folder_of_recordings_with_a_list_is_a_set(tmp_path, list, content, spec):
    folder = write_folder(tmp_path / "set", list, content)
    examples = read_set(spec.format(folder)).require_good().examples
    assert [(one.text, one.language) for one in examples] == [("eins", "de"), ("two", "en")]
    assert [one.clip.path for one in examples] == [folder / "test" / "a.flac", folder / "test" / "b.flac"]
    assert len(examples[0].clip.load(16000)) == 8000
    assert [one.text for one in read_set(spec.format(folder), ReadOptions(limit=1)).require_good().examples] == ["eins"]


def test_a_folder_of_several_splits_asks_for_one(tmp_path):
    folder = write_folder(tmp_path / "set", "metadata.csv", "file_name,text\na.flac,x\nb.flac,y\n")
    with pytest.raises(DataError, match="it has the splits train, test: name one, as hf:"):
        read_set(folder)


@pytest.mark.parametrize("splits", [None, ["dev"], ["dev", "train"]])
def test_a_saved_folder_is_known_by_what_is_in_it(tmp_path, splits):
    table = datasets.Dataset.from_list(rows("a", "b")).cast_column("audio", datasets.Audio(decode=False))
    whole = datasets.DatasetDict(dict.fromkeys(splits, table)) if splits else table
    whole.save_to_disk(tmp_path / "saved")
    if splits == ["dev", "train"]:
        with pytest.raises(DataError, match="it has the splits dev, train: name one"):
            read_set(tmp_path / "saved")
        return
    assert [one.text for one in read_set(tmp_path / "saved").require_good().examples] == ["a", "b"]
    assert list(named_sets([str(tmp_path / "saved")])) == ["saved"]
    assert check(tmp_path / "saved").good == 2


def test_sets_of_texts_have_prompts(tmp_path):
    talk = [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}]
    datasets.Dataset.from_list([{"messages": talk, "level": 1}]).save_to_disk(tmp_path / "talks")
    datasets.Dataset.from_list([{"prompt": "1+1?", "text": "2"}]).save_to_disk(tmp_path / "prompts")
    (one,) = read_set(tmp_path / "talks", ReadOptions(task="text")).require_good().examples
    assert (one.text, one.columns["level"], one.clip) == ("4", 1, None)
    (one,) = read_set(tmp_path / "prompts", ReadOptions(task="text")).require_good().examples
    assert (one.text, one.columns["prompt"]) == ("2", "1+1?")
    datasets.Dataset.from_list([{"n": 1}]).save_to_disk(tmp_path / "none")
    with pytest.raises(DataError, match="has no text"):
        read_set(tmp_path / "none")


@pytest.mark.parametrize("limit", [None, 1])
def test_columns_of_paths_are_recordings_if_they_are_named(tmp_path, limit):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "a.flac").write_bytes(flac(np.zeros(8000)))
    (tmp_path / "set" / "test.csv").write_text("wav_file,sentence\na.flac,eins\n")
    source = HubSet(str(tmp_path / "set"))
    (one,) = load_hub(source, columns={"audio": "wav_file"}, limit=limit)
    assert (one.text, len(one.clip.load(16000))) == ("eins", 8000)


def test_columns_of_samples_are_recordings_at_their_rate(tmp_path):
    table = [{"audio": {"array": [0.1] * 800, "sampling_rate": 8000}, "text": "x"}]
    datasets.Dataset.from_list(table).save_to_disk(tmp_path / "saved")
    (one,) = read_set(tmp_path / "saved").require_good().examples
    assert len(one.clip.load(16000)) == 1600


def test_times_of_the_recording_that_clips_were_cut_from_are_not_theirs(tmp_path):
    (one,) = load_hub(german(tmp_path, rows("a", start=100.0, end=101.0)))
    assert (one.clip.begin, one.columns["start"]) == (None, 100.0)
