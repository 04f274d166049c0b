"""Which column of a set serves which of our fields."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from antiphon.data.fields import fields_of
from antiphon.data.rows import ReadOptions
from antiphon.data.source import read_set
from antiphon.errors import ConfigError, DataError


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("audio text id language speaker", "audio=audio text=text id=id language=language speaker=speaker"),
        ("client_id path sentence locale up_votes", "audio=path text=sentence language=locale speaker=client_id"),
        ("audio_filepath text duration offset", "audio=audio_filepath text=text begin_time=offset duration=duration"),
        ("key source source_len target target_len", "audio=source text=target id=key"),
        ("key wav txt", "audio=wav text=txt id=key"),
        ("audio transcription gender lang", "audio=audio text=transcription language=lang"),
        ("audio label", "audio=audio text=label"),
        ("audio text sentence source start offset", "audio=audio text=text"),
        ("wav sentence start end", "audio=wav text=sentence begin_time=start end_time=end"),
    ],
)
def test_the_usual_names_are_known(names: str, expected: str):
    assert dict(fields_of(names.split(), {})) == dict(one.split("=") for one in expected.split())


def test_a_named_column_comes_first_and_serves_one_field():
    assert dict(fields_of(["path", "sentence", "text"], {"text": "sentence"})) == {"audio": "path", "text": "sentence"}
    assert dict(fields_of(["text", "wav"], {"id": "text"})) == {"id": "text", "audio": "wav"}
    assert dict(fields_of(["wav"], {"text": "said"})) == {"text": "said", "audio": "wav"}
    with pytest.raises(ConfigError, match=r'unknown field in data.columns "txt"; did you mean "text"\?'):
        fields_of(["a"], {"txt": "a"})


def rows(folder: Path, *values: dict, **options):
    path = folder / "a.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in values))
    return read_set(path, ReadOptions(**options))


def test_two_columns_that_may_both_be_the_text_are_refused_only_where_they_differ(tmp_path: Path):
    same = {"wav": "a.wav", "sentence": "one two", "transcript": "one  two"}
    assert rows(tmp_path, same).examples[0].text == "one two"
    other = {"wav": "b.wav", "sentence": "one", "transcript": "two"}
    with pytest.raises(DataError, match=r'line 2: "sentence" and "transcript" may both be the text, and they differ'):
        rows(tmp_path, same, other)
    assert rows(tmp_path, other, columns={"text": "transcript"}).examples[0].text == "two"
    with pytest.raises(DataError, match=r'"wav" and "path" may both be the audio'):
        rows(tmp_path, {**same, "path": "c.wav"})


def test_rows_remember_which_column_served_which_field(tmp_path: Path):
    found = rows(
        tmp_path,
        {"audio_filepath": "a.wav", "text": "one", "lang": "de"},
        {"audio_filepath": "b.wav", "sentence": "one", "room": "hall"},
    )
    assert found.columns == {"audio": "audio_filepath", "text": "text or sentence", "language": "lang"}
    assert [dict(one.columns) for one in found.examples] == [{}, {"room": "hall"}]


def test_an_id_that_only_looks_like_one_may_repeat(tmp_path: Path):
    first, second = rows(
        tmp_path, {"key": "a", "wav": "1.wav", "txt": ""}, {"key": "a", "wav": "2.wav", "txt": ""}
    ).examples
    assert first.id == "a" != second.id


def test_a_text_set_takes_no_column_for_audio_that_is_not_called_so(tmp_path: Path):
    (one,) = rows(tmp_path, {"prompt": "Say hi.", "text": "hi", "path": "notes.md"}, task="text").examples
    assert one.clip is None
