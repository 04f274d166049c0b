"""JSONL rows become examples, and every row that cannot is named with its line and reason."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from antiphon.audio.decode import FileClip
from antiphon.data.rows import BadRow, ReadOptions
from antiphon.data.source import read_set
from antiphon.errors import ConfigError, DataError
from antiphon.tasks.load import task_names


def examples_of(path, **options):
    return read_set(path, ReadOptions(**options)).require_good().examples


KNOWN = f"(known: {', '.join(sorted(task_names()))})"


def write(folder: Path, *lines: str | dict) -> Path:
    path = folder / "data.jsonl"
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return path


def reason(folder: Path, line: str | dict, **options) -> str:
    """Why this one row is bad."""
    rows = read_set(write(folder, line), ReadOptions(**options))
    assert rows.examples == []
    return rows.bad[0].reason


def row(**fields) -> dict:
    return {"audio": "a.wav", "text": "one two", **fields}


def test_a_full_row(tmp_path: Path):
    path = write(
        tmp_path,
        row(id=7, task="asr", begin_time=1, end_time=2.5, language="en", speaker=1089, snr=12.5, tags=["x"]),
    )
    (example,) = examples_of(path)
    assert (example.id, example.task, example.text) == ("7", "asr", "one two")
    assert (example.language, example.speaker) == ("en", "1089")
    assert example.clip == FileClip(tmp_path / "a.wav", 1.0, 2.5)
    assert example.columns == {"snr": 12.5, "tags": ["x"]}


def test_a_row_with_audio_and_text_alone(tmp_path: Path):
    (example,) = examples_of(write(tmp_path, row()))
    assert example.id == hashlib.sha256(f"{tmp_path.name}/data\na.wav\n0.0\nNone".encode()).hexdigest()[:16]
    assert example.task == "asr"
    assert (example.language, example.speaker, example.columns) == (None, None, {})
    assert example.clip == FileClip(tmp_path / "a.wav", None, None)


def test_minus_one_is_the_whole_file_and_the_same_example(tmp_path: Path):
    (plain,) = examples_of(write(tmp_path, row()))
    (open_ended,) = examples_of(write(tmp_path, row(begin_time=-1, end_time=-1.0)))
    (from_zero,) = examples_of(write(tmp_path, row(audio="./sub/../a.wav", begin_time=0)))
    (absolute,) = examples_of(write(tmp_path, row(audio=str(tmp_path / "a.wav"))))
    (segment,) = examples_of(write(tmp_path, row(end_time=1)))
    assert open_ended == plain
    assert from_zero.id == absolute.id == plain.id
    assert segment.id != plain.id


def test_the_hashed_id_has_the_sets_name_wherever_it_lies(tmp_path: Path):
    for name in ("here/de", "there/de", "there/en"):
        (tmp_path / name).mkdir(parents=True)
    here, there, other = (examples_of(write(tmp_path / name, row()))[0] for name in ("here/de", "there/de", "there/en"))
    assert here.id == there.id
    assert there.id != other.id


def test_columns_rename(tmp_path: Path):
    path = write(tmp_path, {"wav": "a.wav", "txt": "hello", "audio": "something else"})
    (example,) = examples_of(path, columns={"audio": "wav", "text": "txt"})
    assert example.clip == FileClip(tmp_path / "a.wav")
    assert example.text == "hello"
    assert example.columns == {"audio": "something else"}


def test_columns_of_an_unknown_field(tmp_path: Path):
    with pytest.raises(ConfigError, match=r'unknown field in data.columns "adio"; did you mean "audio"\?'):
        read_set(write(tmp_path, row()), ReadOptions(columns={"adio": "wav"}))


def test_empty_text_is_a_clip_without_speech(tmp_path: Path):
    (example,) = examples_of(write(tmp_path, row(text="")))
    assert example.text == ""


def test_blank_lines_a_byte_order_mark_and_windows_line_ends(tmp_path: Path):
    path = tmp_path / "data.jsonl"
    first, second = (json.dumps(row(id=name, text="Grüße\u2028"), ensure_ascii=False) for name in "ab")
    path.write_bytes(f"\ufeff{first}\r\n\r\n   \n{second}".encode())
    rows = read_set(path)
    assert [example.text for example in rows.examples] == ["Grüße\u2028"] * 2
    assert ([one.id for one in rows.examples], rows.lines) == (["a", "b"], [1, 4])


def test_malformed_json(tmp_path: Path):
    assert reason(tmp_path, '{"audio": "a.wav" "text": "x"}') == (
        "not valid JSON at column 19 (Expecting ',' delimiter); each line must be one whole JSON object"
    )


def test_json_nested_beyond_reading(tmp_path: Path):
    assert reason(tmp_path, "[" * 100_000).startswith("JSON that cannot be read (")


def test_a_line_that_is_not_an_object(tmp_path: Path):
    assert reason(tmp_path, '["a.wav", "x"]') == (
        'the line holds a list, not a JSON object; write {"audio": "a.wav", "text": "..."}'
    )


def test_bytes_that_are_not_utf8(tmp_path: Path):
    path = tmp_path / "data.jsonl"
    path.write_bytes(b'{"audio": "a.wav", "text": "caf\xe9"}\n' + json.dumps(row()).encode())
    rows = read_set(path)
    assert rows.bad == [BadRow(1, None, "not UTF-8 at byte 32 of the line; save the file as UTF-8")]
    assert len(rows.examples) == 1


def test_a_utf16_file(tmp_path: Path):
    path = tmp_path / "data.jsonl"
    path.write_text(json.dumps(row()), encoding="utf-16")
    with pytest.raises(DataError, match=r"data\.jsonl: the file is UTF-16; save it as UTF-8"):
        read_set(path)


def test_missing_audio_key(tmp_path: Path):
    assert reason(tmp_path, {"sound": "a.wav", "text": "x"}) == (
        'the row has no "audio", only "sound", "text"; add it, or say which key holds it: data.columns={audio: KEY}'
    )


def test_missing_text_key(tmp_path: Path):
    assert reason(tmp_path, {"audio": "a.wav", "text": "x"}, columns={"text": "txt"}) == (
        'the row has no "txt", only "audio", "text"; add it, or say which key holds it: data.columns={text: KEY}'
    )


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"text": None}, '"text" is null; it must be a string ("" for a clip without speech)'),
        ({"text": ["x"]}, '"text" is a list; it must be a string ("" for a clip without speech)'),
        ({"text": "\ud83d"}, '"text" has half a surrogate pair at character 1; correct it'),
        ({"audio": {"name": "a.wav"}}, '"audio" is an object; it must be a string'),
        ({"audio": ""}, '"audio" is not a path; give the path of an audio file'),
        ({"id": ""}, '"id" is an empty string; it must be a non-empty string or a whole number'),
        ({"speaker": True}, '"speaker" is true or false; it must be a non-empty string or a whole number'),
        ({"begin_time": -2}, '"begin_time" is -2; give seconds from 0 up, or -1 for the whole file'),
        ({"end_time": float("nan")}, '"end_time" is nan; give seconds from 0 up, or -1 for the whole file'),
        ({"end_time": "3"}, '"end_time" is a string; give seconds from 0 up, or -1 for the whole file'),
        ({"task": "ars"}, f'unknown task "ars"; did you mean "asr"? {KNOWN}'),
        ({"task": "translate"}, f'unknown task "translate"; {KNOWN}'),
        ({"task": "\ud83d"}, rf'unknown task "\ud83d"; {KNOWN}'),
    ],
)
def test_fields_of_the_wrong_kind(tmp_path: Path, fields: dict, message: str):
    assert reason(tmp_path, row(**fields)) == message


def test_tasks_are_the_callers(tmp_path: Path):
    path = write(tmp_path, row(task="classify"), row(id="b"))
    examples = examples_of(path, task="asr")
    assert [example.task for example in examples] == ["classify", "asr"]
    with pytest.raises(ConfigError, match=r"unknown task 'clasify' in 'task'; did you mean 'classify'"):
        examples_of(path, task="clasify")


def test_duplicate_id_names_both_lines(tmp_path: Path):
    path = write(tmp_path, row(id="u1"), row(id="u2"), row(id="u1", audio="b.wav"))
    with pytest.raises(DataError) as error:
        examples_of(path)
    assert str(error.value) == (
        f"{path}: 1 of 3 row(s) cannot be used:\n"
        "  line 3 (example u1): the same id as line 1; ids must be unique\n"
        f"Correct or remove them; `antiphon data check {path}` lists them all."
    )


def test_the_same_clip_twice_without_ids(tmp_path: Path):
    rows = read_set(write(tmp_path, row(), row(text="other")))
    assert rows.bad[0].reason == (
        'the same clip and segment as line 1, and no "id" to tell them apart; add one or remove the row'
    )


def test_the_error_lists_the_first_five_rows_and_counts_the_rest(tmp_path: Path):
    path = write(tmp_path, *["oops"] * 7, row())
    with pytest.raises(DataError) as error:
        examples_of(path)
    lines = str(error.value).splitlines()
    assert lines[0] == f"{path}: 7 of 8 row(s) cannot be used:"
    assert lines[5].startswith("  line 5: not valid JSON at column 1 ")
    assert lines[6] == "  ... and 2 more"


def test_a_file_without_rows(tmp_path: Path):
    with pytest.raises(DataError, match=r"data\.jsonl: the set has no rows; add at least one"):
        examples_of(write(tmp_path, ""))


def test_a_file_that_is_not_there(tmp_path: Path):
    with pytest.raises(DataError, match=r"none.jsonl: cannot be read \(No such file or directory\); correct"):
        examples_of(tmp_path / "none.jsonl")
