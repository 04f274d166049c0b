"""Sets written in every format, and what the formats' own libraries and our readers make of them."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import datasets
import grain
import lhotse
import numpy as np
import pytest
import soundfile
import webdataset as wds
from typer.testing import CliRunner

from antiphon.audio.decode import read_audio
from antiphon.audio.encode import flac
from antiphon.cli.data import app
from antiphon.data import example_proto
from antiphon.data.export import STAMP, WRITER, Out, write
from antiphon.data.rows import ReadOptions
from antiphon.data.source import read_set
from antiphon.errors import AntiphonError, ConfigError, DataError
from antiphon.types import Example

RATE = 16000
FORMATS = ["arrayrecord", "csv", "jsonl", "kaldi", "lhotse", "nemo", "parquet", "tsv", "webdataset"]
KEEPS = [name for name in FORMATS if name != "kaldi"]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Two languages, an odd name, a part of a file, an empty text, and a file of its own rate."""
    folder = tmp_path / "source"
    folder.mkdir()
    wave = np.rint(np.sin(np.arange(2 * RATE) / 20) * 9000) / 32768
    for name, rate in (("ünï 1.wav", RATE), ("b.flac", 8000), ("tape.wav", RATE)):
        soundfile.write(folder / name, wave, rate)
    rows = [
        {"id": "ü/1 .x", "audio": "ünï 1.wav", "text": "Grüße, eins", "language": "de", "speaker": "anna", "room": "a"},
        {"id": "b", "audio": "b.flac", "text": "two words", "language": "en", "speaker": "bob", "snr": 3.5},
        {"id": "t1", "audio": "tape.wav", "begin_time": 0.25, "end_time": 1.0, "text": "", "speaker": "anna"},
        {"id": "T1", "audio": "tape.wav", "begin_time": 1.5, "text": "end", "speaker": "anna", "tags": ["x", "y"]},
    ]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / "rows.jsonl"


def examples_of(source: Path, **options) -> list[Example]:
    return list(read_set(source, ReadOptions(**options)).require_good().examples)


def written(source: Path, format: str, **options) -> Path:
    found = write([("set", examples_of(source))], source.parent.parent / format, format, source="x", **options)
    return found.places["set"]


def sounds(examples: list[Example]) -> list[np.ndarray]:
    return [one.clip.load(RATE) for one in examples if one.clip]


def test_there_is_a_writer_for_each_format():
    assert WRITER.names() == FORMATS


@pytest.mark.parametrize("format", KEEPS)
def test_a_set_is_the_same_after_it_was_written_and_read(source, format):
    before, after = examples_of(source), examples_of(written(source, format))
    if format == "webdataset":
        after = sorted(after, key=lambda one: [row.id for row in before].index(one.id))
    for old, new in zip(before, after, strict=True):
        assert (new.id, new.text, new.language, new.speaker) == (old.id, old.text, old.language, old.speaker)
    assert after[0].columns["room"] == "a"
    assert float(after[1].columns["snr"]) == pytest.approx(3.5)
    for old, new in zip(sounds(before), sounds(after), strict=True):
        assert np.abs(old - new).max() < 1e-6


def test_a_kaldi_directory_is_read_as_it_was_written(source):
    before = {one.text: one for one in examples_of(source)}
    for new in examples_of(written(source, "kaldi")):
        assert new.speaker == before[new.text].speaker
        assert np.abs(new.clip.load(RATE) - before[new.text].clip.load(RATE)).max() < 1e-6


def test_datasets_reads_the_parquet_file(source, monkeypatch, tmp_path):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    found = datasets.load_dataset("parquet", data_files=str(written(source, "parquet")), split="train")
    assert isinstance(found.features["audio"], datasets.Audio)
    rows = list(found.cast_column("audio", datasets.Audio(decode=False)))
    assert [row["id"] for row in rows] == ["ü/1 .x", "b", "t1", "T1"]
    assert rows[0]["audio"]["bytes"][:4] == b"RIFF"
    assert rows[2]["audio"]["bytes"][:4] == b"fLaC"
    assert rows[3]["tags"] == ["x", "y"]


def test_webdataset_reads_the_shards(source):
    (shard,) = written(source, "webdataset").glob("*.tar")
    samples = list(wds.WebDataset(str(shard), shardshuffle=False).decode())
    assert [sample["txt"] for sample in samples] == ["Grüße, eins", "two words", "", "end"]
    assert samples[0]["json"]["id"] == "ü/1 .x"
    assert len({sample["__key__"].casefold() for sample in samples}) == 4


def test_grain_reads_the_records(source):
    found = grain.sources.ArrayRecordDataSource(str(written(source, "arrayrecord")))
    records = [example_proto.parse(found[number]) for number in range(len(found))]
    assert [record["text"] for record in records] == [[b"Gr\xc3\xbc\xc3\x9fe, eins"], [b"two words"], [b""], [b"end"]]
    assert [record["audio_len"] for record in records] == [[32000], [32000], [12000], [8000]]
    assert [record["sample_rate"] for record in records] == [[16000], [8000], [16000], [16000]]
    assert len(records[2]["audio"]) == 12000


def test_lhotse_reads_the_cuts(source):
    cuts = list(lhotse.load_manifest(written(source, "lhotse")))
    assert [cut.supervisions[0].text for cut in cuts] == ["Grüße, eins", "two words", "", "end"]
    assert [round(cut.duration, 3) for cut in cuts] == [2.0, 4.0, 0.75, 0.5]
    for old, cut in zip(examples_of(source), cuts, strict=True):
        assert np.abs(cut.resample(RATE).load_audio()[0] - old.clip.load(RATE)).max() < 0.01


def test_lhotse_reads_the_kaldi_directory(source):
    folder = written(source, "kaldi")
    recordings, supervisions, _ = lhotse.kaldi.load_kaldi_data_dir(folder, RATE)
    assert {one.text for one in supervisions} == {"Grüße, eins", "two words", "", "end"}
    assert {one.speaker for one in supervisions} == {"anna", "bob"}
    parts = sorted((one.start, round(one.duration, 3)) for one in supervisions)
    assert parts == [(0.0, 2.0), (0.0, 4.0), (0.25, 0.75), (1.5, 0.5)]
    assert len(recordings) == 3
    for name in ("text", "utt2spk", "wav.scp", "segments"):
        keys = [line.split()[0] for line in (folder / name).read_text().splitlines()]
        assert keys == sorted(set(keys)), name


def test_nemo_and_tables_say_the_same(source):
    rows = [json.loads(line) for line in written(source, "nemo").read_text().splitlines()]
    assert [(row["duration"], row.get("offset")) for row in rows] == [
        (2.0, None),
        (4.0, None),
        (0.75, 0.25),
        (0.5, 1.5),
    ]
    assert (rows[0]["lang"], rows[0]["speaker"]) == ("de", "anna")
    for format, delimiter in (("csv", ","), ("tsv", "\t")):
        with written(source, format).open(newline="", encoding="utf-8") as file:
            table = list(csv.DictReader(file, delimiter=delimiter))
        assert [row["text"] for row in table] == ["Grüße, eins", "two words", "", "end"]
        assert [row["begin_time"] for row in table] == ["", "", "0.25", "1.5"]
        assert json.loads(table[3]["tags"]) == ["x", "y"]
        assert Path(table[0]["audio"]) == source.parent / "ünï 1.wav"


@pytest.mark.parametrize("format", ["jsonl", "parquet", "csv"])
def test_prompts_without_recordings_are_written_where_there_is_place(tmp_path, format):
    (tmp_path / "q.jsonl").write_text('{"prompt": "2+2?", "text": "4"}\n{"prompt": "a,\\tb", "text": ""}\n')
    examples = examples_of(tmp_path / "q.jsonl", task="text")
    place = write([("set", examples)], tmp_path / "out", format, source="q").places["set"]
    if format != "csv":
        again = examples_of(place, task="text")
        assert [one.columns["prompt"] for one in again] == ["2+2?", "a,\tb"]
    with pytest.raises(DataError, match=r"has no recording, which this format needs"):
        write([("set", examples)], tmp_path / "kaldi", "kaldi", source="q")
    assert not (tmp_path / "kaldi").exists()


def test_a_folder_in_use_is_not_replaced(source, tmp_path):
    written(source, "jsonl")
    with pytest.raises(ConfigError, match="has a data set already; name another folder, or replace it with --force"):
        written(source, "jsonl")
    assert written(source, "jsonl", force=True).is_file()
    (tmp_path / "csv").mkdir()
    (tmp_path / "csv" / "mine.txt").write_text("mine")
    with pytest.raises(ConfigError, match="was not written by antiphon data"):
        written(source, "csv", force=True)
    assert (tmp_path / "csv" / "mine.txt").read_text() == "mine"
    (source.parent / STAMP).write_text("{}")
    with pytest.raises(ConfigError, match="holds recordings of the set"):
        write([("set", examples_of(source))], source.parent, "jsonl", source="x", force=True)


def test_bad_audio_stops_or_is_left_out(source, tmp_path):
    (source.parent / "b.flac").write_bytes(b"fLaC damaged")
    with pytest.raises(AntiphonError, match=r"b\.flac"):
        written(source, "arrayrecord")
    assert [path.name for path in tmp_path.iterdir()] == ["source"], "nothing is left of it"
    found = write([("set", examples_of(source))], tmp_path / "out", "parquet", source="x", on_bad_audio="skip")
    assert len(found.skipped) == 1
    assert len(examples_of(found.places["set"])) == 3


def test_what_a_format_has_no_place_for_is_said(source, tmp_path):
    found = write([("set", examples_of(source))], tmp_path / "out", "kaldi", source="x")
    assert "no place for the columns room, snr, tags" in found.notes[0]
    assert "some rows have no language" in found.notes[1]
    assert not (tmp_path / "out" / "utt2lang").exists()


def test_names_of_files_differ_for_each_id():
    out = Out(Path(), Path(), "set")
    names = [out.safe(id) for id in ("a", "A", "a b", "a_b", "../x", "ü", "a" * 300, ".hidden", "a.b")]
    assert len({name.casefold() for name in names}) == len(names)
    assert all(len(name) < 120 and "/" not in name and not name.startswith(".") for name in names)
    assert out.safe("a") == "a"
    assert "." not in out.safe("c.d", dots=False)


@pytest.mark.parametrize("wave", [np.array([-1, -0.5, 0.25, 32767 / 32768]), np.array([1e-6, -0.3, 0.7, -1.0])])
def test_flac_keeps_every_sample(tmp_path, wave):
    (tmp_path / "a.flac").write_bytes(flac(wave.astype(np.float32), RATE))
    assert np.abs(read_audio(tmp_path / "a.flac", RATE) - wave).max() <= 2**-24


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_commands_write_what_other_commands_read(source, tmp_path):
    found = json.loads(run("prepare", source, tmp_path / "p", "--json", "--limit", "2"))
    assert found["rows"] == {"p": 2}
    assert len(examples_of(Path(found["sets"]["p"]))) == 2
    found = json.loads(run("convert", source, tmp_path / "w", "--format", "webdataset", "--json"))
    report = json.loads(run("check", found["sets"]["w"], "--json"))
    assert (report["rows"], report["bad"]) == (4, [])
    shown = run("split", source, tmp_path / "s", "--parts", "train=0.5,dev=0.5", "--by", "row", "--format", "kaldi")
    assert "train: 2 row(s)" in shown
    assert (tmp_path / "s" / "dev" / "utt2spk").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--format", "kaldj"), "unknown writer 'kaldj' in '--format'; did you mean 'kaldi'"),
        (("--format", "jsonl", "--columns", "text"), "write FIELD=KEY"),
    ],
)
def test_a_command_that_cannot_be_done_says_so(source, tmp_path, arguments, message):
    with pytest.raises(ConfigError, match=message):
        run("convert", source, tmp_path / "out", *arguments)
