"""Sets of every form of text: what comes back of what was written, and what is said of a file of another form."""

from __future__ import annotations

import csv
import gzip
import json
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile

from antiphon.audio.decode import FileClip
from antiphon.data.forms import name_of, reader_of, set_name
from antiphon.data.rows import ReadOptions, Rows
from antiphon.data.source import read_set
from antiphon.errors import AudioError, DataError

NAMES = ["-a.wav", "été Ω.wav", "two words.wav"]
TEXTS = ['one, "two"', "größer;\u2028als", "三 四"]
LANGUAGES = ["en", "de", "zh"]


@dataclass
class Heard:
    text: str
    language: str | None
    speaker: str | None
    seconds: float


def record(folder: Path) -> list[Path]:
    """Three recordings of 1, 2 and 3 seconds, with odd names."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / name for name in NAMES]
    for seconds, path in enumerate(paths, start=1):
        soundfile.write(path, np.full(8000 * seconds, 0.25 * seconds), 8000)
    return paths


def heard(rows: Rows) -> list[Heard]:
    found = []
    for one in rows.require_good().examples:
        assert one.clip is not None
        found.append(Heard(one.text, one.language, one.speaker, len(one.clip.load(8000)) / 8000))
    return found


def whole(speaker: str | None = "anna", languages: list | None = None) -> list[Heard]:
    languages = LANGUAGES if languages is None else languages
    triples = zip(TEXTS, languages, (1.0, 2.0, 3.0), strict=True)
    return [Heard(text, language, speaker, seconds) for text, language, seconds in triples]


def json_lines(path: Path, rows: list[dict], opened: Callable = open) -> Path:
    with opened(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    return path


def entries(audio: str, text: str, language: str, speaker: str, **further: object) -> list[dict]:
    return [
        {audio: f"clips/{name}", text: said, language: code, speaker: "anna", **further}
        for name, said, code in zip(NAMES, TEXTS, LANGUAGES, strict=True)
    ]


DIALECTS = {
    "ours": entries("audio", "text", "language", "speaker"),
    "the OPD seed's": entries("audio", "text", "language", "speaker", task="asr", begin_time=-1, end_time=-1),
    "FunASR": entries("source", "target", "text_language", "speaker", source_len=100, target_len=3),
    "WeNet": entries("wav", "txt", "lang", "spk"),
}


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("ending", ["a.jsonl", "a.jsonl.gz", "a.json", "data.list", "noending"])
def test_json_lines_of_every_dialect(tmp_path: Path, dialect: str, ending: str):
    record(tmp_path / "clips")
    path = json_lines(tmp_path / ending, DIALECTS[dialect], gzip.open if ending.endswith("gz") else open)
    assert heard(read_set(path)) == whole()


def test_json_documents(tmp_path: Path):
    record(tmp_path / "clips")
    rows = entries("path", "sentence", "locale", "client_id")
    for number, document in enumerate((rows, {"version": 1, "data": rows}, {"utterances": rows})):
        for name, indent in (("a.json", 2), ("a.jsonl", None), ("b", None), ("c.json.gz", 1)):
            path = tmp_path / f"{number}{name}"
            with (gzip.open if name.endswith("gz") else open)(path, "wt") as file:
                json.dump(document, file, indent=indent)
            found = read_set(path)
            if number != 1 or indent:  # One line with several keys is a row of JSON lines.
                assert (found.format, heard(found)) == ("json", whole())
    lines = ",\n".join(json.dumps(row) for row in rows)
    (tmp_path / "lines.json").write_text(f'{{"data": [\n{lines}\n]}}\n')
    assert heard(read_set(tmp_path / "lines.json")) == whole()
    (tmp_path / "two.json").write_text(json.dumps({"train": rows, "test": rows}, indent=1))
    with pytest.raises(DataError, match="holds several lists of objects, train, test"):
        read_set(tmp_path / "two.json")
    (tmp_path / "bad.json").write_text('[\n{"audio": "a.wav"\n')
    with pytest.raises(DataError, match=r"bad.json: not valid JSON at line 3, column 1"):
        read_set(tmp_path / "bad.json")


@pytest.mark.parametrize(("ending", "dialect"), [("csv", "excel"), ("tsv", "excel-tab"), ("txt", "unix")])
def test_tables_that_pythons_csv_wrote(tmp_path: Path, ending: str, dialect: str):
    record(tmp_path / "clips")
    with (tmp_path / f"a.{ending}").open("w", newline="") as file:
        rows = entries("file", "transcript", "lang", "speaker_id", note="")
        table = csv.DictWriter(file, list(rows[0]), dialect=dialect)
        table.writeheader()
        table.writerows(rows)
    found = read_set(tmp_path / f"a.{ending}")
    assert (found.format, heard(found)) == ("csv", whole())
    assert found.columns == {"audio": "file", "text": "transcript", "language": "lang", "speaker": "speaker_id"}
    assert dict(found.examples[0].columns) == {"note": None}


def test_common_voice_as_it_is(tmp_path: Path):
    record(tmp_path / "clips")
    header = "client_id\tpath\tsentence\tup_votes\tage\tlocale\tsegment\n"
    said = [
        'He said "no".',
        '"Never!" she cried',
        "",
    ]
    lines = [f"anna\t{name}\t{text}\t2\t\ten\t\n" for name, text in zip(NAMES, said, strict=True)]
    (tmp_path / "validated.tsv").write_text(header + "".join(lines))
    found = read_set(tmp_path / "validated.tsv")
    assert [one.text for one in heard(found)] == said
    assert [(one.language, one.speaker) for one in found.examples] == [("en", "anna")] * 3
    assert found.examples[0].clip == FileClip(tmp_path / "clips" / "-a.wav")


def test_tables_that_are_none(tmp_path: Path):
    path = tmp_path / "a.csv"
    path.write_text("LJ001|Printing|printing\nLJ002|in|in\n")
    with pytest.raises(DataError, match="no column of its first line is known to hold recordings"):
        read_set(path)
    path.write_text("path,text,text\na.wav,b,c\n")
    with pytest.raises(DataError, match="the header names 'text' twice"):
        read_set(path)
    path.write_text('path,text\na.wav,"b" c\n')
    with pytest.raises(DataError, match="line 2 is not CSV"):
        read_set(path)
    path.write_text("path,text\na.wav,b\n")
    with pytest.raises(DataError, match="has no column 'said'; its columns are path, text"):
        read_set(path, ReadOptions(columns={"text": "said"}))
    path.write_bytes(b"path,text,start,end\na.wav,b,0.5,1\nb.wav,c\nc.wav,caf\xe9,,\nd.wav,,x,2\n")
    rows = read_set(path)
    assert [one.clip for one in rows.examples] == [FileClip(tmp_path / "a.wav", 0.5, 1.0)]
    assert [str(one) for one in rows.bad] == [
        "line 3: has 2 cells and the header 4; correct the row",
        "line 4: not UTF-8; save the file as UTF-8",
        'line 5: "start" is a string; give seconds from 0 up, or -1 for the whole file',
    ]


def nemo_rows(folder: Path) -> list[dict]:
    seconds = (1.0, 2.0, 3.0)
    names = (f"clips/{name}" for name in NAMES)
    return [
        {"audio_filepath": name, "text": text, "duration": duration, "lang": code}
        for name, text, duration, code in zip(names, TEXTS, seconds, LANGUAGES, strict=True)
    ]


def test_nemo_manifests(tmp_path: Path):
    record(tmp_path / "clips")
    path = json_lines(tmp_path / "train_manifest.json", nemo_rows(tmp_path))
    found = read_set(path)
    assert (found.format, heard(found)) == ("nemo", whole(speaker=None))
    segments = [{**row, "offset": 0.25, "duration": 0.5} for row in nemo_rows(tmp_path)]
    found = read_set(json_lines(path, segments))
    assert [one.seconds for one in heard(found)] == [0.5] * 3
    assert found.examples[0].clip == FileClip(tmp_path / "clips" / "-a.wav", 0.25, 0.75)
    assert dict(found.examples[0].columns) == {"duration": 0.5}


def test_a_duration_that_is_not_the_files_is_refused_when_it_is_heard(tmp_path: Path):
    record(tmp_path / "clips")
    rows = [{**row, "duration": row["duration"] - 0.6} for row in nemo_rows(tmp_path)]
    (one, *_) = read_set(json_lines(tmp_path / "a.json", rows)).examples
    assert isinstance(one.clip, FileClip)
    for hear in (one.clip.scan, one.clip.seconds, lambda: one.clip.load(16000)):
        with pytest.raises(AudioError, match=r"lasts 1 s, but its row states a duration of 0.4 s and no offset"):
            hear()
    near = [{**row, "duration": row["duration"] + 0.01} for row in nemo_rows(tmp_path)]
    assert len(heard(read_set(json_lines(tmp_path / "a.json", near)))) == 3


def kaldi(folder: Path, **files: list[str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, lines in files.items():
        (folder / name.replace("wav_scp", "wav.scp")).write_text("".join(f"{line}\n" for line in lines))
    return folder


def test_kaldi_folders(tmp_path: Path):
    paths = record(tmp_path / "sound")
    folder = kaldi(
        tmp_path / "data" / "dev.clean",
        wav_scp=[f"rec{number} {path}" for number, path in enumerate(paths)],
        text=[f"rec{number} {text}" for number, text in enumerate(TEXTS)],
        utt2spk=[f"rec{number} anna" for number in range(3)],
        spk2utt=["anna rec0 rec1 rec2"],
        utt2lang=[f"rec{number}\t{code}" for number, code in enumerate(LANGUAGES)],
    )
    for spec in (folder, folder / "wav.scp"):
        found = read_set(spec)
        assert (found.format, heard(found), set_name(str(spec))) == ("kaldi", whole(), "dev.clean")
        assert [one.id for one in found.examples] == ["rec0", "rec1", "rec2"]
    kaldi(folder, segments=["u-1 rec2 0.5 1.5", "u-2 rec2 2 -1", "u-3 gone 0 1"], text=["u-1 one", "u-2", "u-4 four"])
    rows = read_set(folder)
    assert [(one.id, one.text, len(one.clip.load(8000))) for one in rows.examples if one.clip] == [
        ("u-1", "one", 8000),
        ("u-2", "", 8000),
    ]
    assert [str(one) for one in rows.bad] == [
        "segments line 3 (example u-3): the recording is not in wav.scp; add it",
        "text line 3 (example u-4): the utterance has no recording; remove it",
    ]


def test_kaldi_recordings_that_are_no_files_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    record(tmp_path / "sound")
    folder = kaldi(
        tmp_path / "data",
        wav_scp=["a sox in.mp3 -t wav - |", "b raw.ark:1234", "c sound/two words.wav", "d sound/-a.wav"],
        text=["a x", "b x", "c x"],
    )
    rows = read_set(folder)
    assert [one.clip for one in rows.examples] == [FileClip(Path("sound/two words.wav"))]
    reasons = [one.reason for one in rows.bad]
    assert "its recording is what a command writes (sox in.mp3 -t wav - |), and antiphon runs none" in reasons[0]
    assert "lies in the archive raw.ark" in reasons[1]
    assert "the utterance has no line in text" in reasons[2]
    assert len(read_set(folder, ReadOptions(text_required=False)).examples) == 2


def test_funasr_lists_are_kaldis_with_a_name_before(tmp_path: Path):
    paths = record(tmp_path)
    (tmp_path / "train_wav.scp").write_text("".join(f"r{n} {path}\n" for n, path in enumerate(paths)))
    (tmp_path / "train_text.txt").write_text("".join(f"r{n} {text}\n" for n, text in enumerate(TEXTS)))
    assert heard(read_set(tmp_path / "train_wav.scp")) == whole(None, [None] * 3)


def test_wenet_lists_of_shards(tmp_path: Path):
    record(tmp_path / "clips")
    for number, (name, text) in enumerate(zip(NAMES, TEXTS, strict=True)):
        (tmp_path / "said.txt").write_text(text)
        with tarfile.open(tmp_path / f"shard {number}.tar", "w") as archive:
            archive.add(tmp_path / "clips" / name, f"utt{number}.wav")
            archive.add(tmp_path / "said.txt", f"utt{number}.txt")
    (tmp_path / "data.list").write_text("".join(f"{tmp_path}/shard {number}.tar\n" for number in range(3)))
    found = read_set(tmp_path / "data.list")
    assert (found.format, heard(found)) == ("wenet", whole(None, [None] * 3))
    assert found.lines[2] == "shard 2.tar, sample utt2"
    (tmp_path / "data.list").write_text("a.wav\nb.wav\n")
    with pytest.raises(DataError, match="line 1 is neither a JSON object nor the path of a tar file"):
        read_set(tmp_path / "data.list")


def test_what_the_content_is_beats_the_name_and_a_wrong_form_is_one_line(tmp_path: Path):
    record(tmp_path / "clips")
    rows = entries("audio", "text", "language", "speaker")
    array, lines, table, scp, shard, parquet = (tmp_path / f"{name}.dat" for name in "abcdef")
    array.write_text(json.dumps(rows))
    json_lines(lines, rows)
    table.write_text("path\tsentence\na.wav\tone\n")
    scp.write_text("a /x/a.wav\nb sox b.mp3 -t wav - |\n")
    with tarfile.open(shard, "w") as archive:
        archive.add(tmp_path / "clips" / NAMES[0], "a.wav")
    pq.write_table(pa.table({"text": ["a"]}), parquet)
    forms = {array: "json", lines: "jsonl", table: "csv", scp: "kaldi", shard: "webdataset", parquet: "parquet"}
    assert {path: name_of(reader_of(str(path))) for path in forms} == forms
    for path, form in forms.items():
        for other in ("json", "jsonl", "csv", "kaldi"):
            if other != form:
                with pytest.raises(DataError, match=rf"{path.name}: holds [^\n]*; read it with --format {form}$"):
                    read_set(path, ReadOptions(format=other))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"RIFF\x00\x00\x00\x00WAVEfmt ", "is a recording, not JSON lines; name a list of it"),
        (b"PK\x03\x04" + bytes(40), "is a zip archive, not JSON lines; unpack it"),
        (b"<!DOCTYPE html><html>404", "is a web page or XML"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "is a pointer of Git LFS"),
        (bytes(range(256)), "is a binary file, not JSON lines"),
        (gzip.compress(b'{"audio": "a.wav"}\n' * 999, mtime=0)[:60], "the gzip file is cut off or damaged"),
    ],
)
def test_files_that_are_no_list(tmp_path: Path, content: bytes, message: str):
    path = tmp_path / "a.jsonl"
    path.write_bytes(content)
    with pytest.raises(DataError) as error:
        read_set(path)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_folder_that_is_no_set(tmp_path: Path):
    with pytest.raises(DataError, match="is a folder of no form that is known"):
        read_set(tmp_path)


def test_sets_and_recordings_may_be_remote(tmp_path: Path):
    (path, *_) = record(tmp_path)
    memory = fsspec.filesystem("memory")
    memory.pipe("/far/a b.wav", path.read_bytes())
    names = ("a b.wav", "memory://far/a b.wav", str(path), "none.wav")
    rows = [{"audio": name, "text": "one", "id": number} for number, name in enumerate(names)]
    memory.pipe("/far/a.jsonl", "".join(json.dumps(row) + "\n" for row in rows).encode())
    found = read_set("memory://far/a.jsonl").examples
    assert [len(one.clip.load(8000)) for one in (found[0], found[1], found[2]) if one.clip] == [8000] * 3
    with pytest.raises(AudioError, match=r"memory://far/none.wav: the remote file cannot be read"):
        found[3].clip.load(8000)
    with pytest.raises(DataError, match=r"memory://far/b.jsonl: the remote file cannot be read"):
        read_set("memory://far/b.jsonl")
    with pytest.raises(DataError, match=r"gopher://x/a.jsonl: the remote file cannot be read \(.*gopher"):
        read_set("gopher://x/a.jsonl")


def test_files_may_be_named_by_url_and_from_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    paths = record(tmp_path / "my clips")
    names = [f"file://{tmp_path}/my%20clips/-a.wav", f"~/my clips/{NAMES[1]}", str(paths[2])]
    path = json_lines(tmp_path / "a.jsonl", [{"audio": one, "text": "x"} for one in names])
    for spec in (path, f"file://{path}", "~/a.jsonl"):
        assert [one.seconds for one in heard(read_set(spec))] == [1.0, 2.0, 3.0]


def test_windows_paths_are_named_as_such(tmp_path: Path):
    (path, *_) = record(tmp_path)
    path.rename(tmp_path / "odd\\name.wav")
    names = ["C:\\clips\\a.wav", "clips\\a.wav", "odd\\name.wav"]
    rows = read_set(json_lines(tmp_path / "a.jsonl", [{"audio": one, "text": "x"} for one in names]))
    assert [one.reason.partition(";")[0] for one in rows.bad] == [f"{name} is a Windows path" for name in names[:2]]
    assert len(heard(Rows("", rows.examples))) == 1
    for spec in ("C:\\sets\\a.jsonl", "sets\\a", "C:\\sets"):
        with pytest.raises(DataError, match="is a Windows path; write it with /"):
            read_set(spec)


def test_paths_from_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    record(tmp_path / "clips")
    (tmp_path / "lists").mkdir()
    monkeypatch.chdir(tmp_path)
    path = json_lines(tmp_path / "lists" / "a.jsonl", entries("audio", "text", "language", "speaker"))
    assert heard(read_set(path)) == whole()


def test_sets_of_equal_relative_paths_mix(tmp_path: Path):
    ids = []
    for folder in ("a/de", "a/en", "b/de"):
        record(tmp_path / folder / "clips")
        path = json_lines(tmp_path / folder / "train.jsonl", [{"wav": f"clips/{name}", "txt": ""} for name in NAMES])
        whole_set = [one.id for one in read_set(path).examples]
        assert [one.id for one in read_set(path, ReadOptions(limit=2)).examples] == whole_set[:2]
        ids.append(set(whole_set))
    assert not ids[0] & ids[1]
    assert ids[0] == ids[2], "where the set lies does not matter"


@pytest.mark.parametrize("form", ["parquet", "arrayrecord", "webdataset"])
def test_text_asked_for_as_a_binary_form_is_refused_with_its_own(tmp_path: Path, form: str):
    path = tmp_path / "a.jsonl"
    path.write_text('{"audio": "a.wav", "text": "one"}\n')
    with pytest.raises(DataError, match=r"holds JSON lines, .* --format jsonl"):
        read_set(path, ReadOptions(format=form))


@pytest.mark.parametrize(
    ("document", "form"),
    [
        ({"version": 1, "data": [{"audio": "a.wav", "text": "one"}]}, "json"),
        ({"data": [{"wav": "a.wav", "txt": "one"}], "language": "en"}, "json"),
        ({"data": [{"prompt": "one"}]}, "json"),
        ({"audio": "a.wav", "text": "one", "words": [{"word": "one", "start": 0.1, "end": 0.4}]}, "jsonl"),
        ({"prompt": "one", "choices": [{"name": "a"}]}, "jsonl"),
        ({"messages": [{"role": "user", "content": "one"}], "audios": ["a.wav"]}, "jsonl"),
    ],
)
def test_a_line_is_a_document_if_it_holds_rows_and_is_none(tmp_path: Path, document: dict, form: str):
    path = tmp_path / "a.json"
    path.write_text(json.dumps(document))
    assert name_of(reader_of(str(path))) == form


@pytest.mark.parametrize("name", ["d.jsonl", "d.jsonl.gz", "test.tsv"])
def test_a_folder_that_is_no_set_names_a_list_in_it(tmp_path: Path, name: str):
    (tmp_path / name).write_text("\n")
    with pytest.raises(DataError, match=f"such as .*{name},"):
        read_set(tmp_path)


@pytest.mark.parametrize("struct", [False, True])
def test_paths_in_parquet_may_be_of_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, struct: bool):
    monkeypatch.chdir(tmp_path)
    paths = [f"clips/{path.name}" for path in record(tmp_path / "clips")]
    (tmp_path / "lists").mkdir()
    cells = [{"bytes": None, "path": path} for path in paths] if struct else paths
    pq.write_table(pa.table({"audio": cells, "text": TEXTS}), tmp_path / "lists" / "a.parquet")
    assert [one.seconds for one in heard(read_set("lists/a.parquet"))] == [1, 2, 3]
