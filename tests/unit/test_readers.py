"""Which reader claims a set, and sets of every form through the same door: read, checked and counted."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from antiphon.audio.embedded import Embedded
from antiphon.config import load_config
from antiphon.data.check import check
from antiphon.data.corpora.sets import builtin_set
from antiphon.data.forms import READER, named_sets, reader_of
from antiphon.data.readers import builtin, hub, jsonl
from antiphon.data.rows import OWN_KEYS, ReadOptions, Row
from antiphon.data.source import load_set, read_set
from antiphon.data.stats import stats
from antiphon.errors import ConfigError, DataError

TABLE = """
from antiphon.data.rows import BadRow, Row

class Table:
    def claims(self, spec):
        return spec.startswith("table:")

    def set_name(self, spec):
        return spec.removeprefix("table:")

    def read(self, spec, options):
        for number in range(1_000_000_000):
            if number == 1:
                yield BadRow("shard 0, row 1", "broken", "its key has two recordings; remove one")
            yield Row(f"shard 0, row {number}", {"audio": f"{number}.wav", "text": "one"})
"""


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    Path("table.py").write_text(TABLE)
    return "table.py:Table"


def test_a_set_is_read_by_the_reader_that_claims_it(table: str):
    assert {"builtin", "csv", "hub", "json", "jsonl", "kaldi", "nemo", "open_asr", "wenet"} <= set(READER.names())
    assert reader_of("builtin:digits-clean") is builtin
    assert reader_of("hf:a/b") is hub
    assert reader_of("rows.jsonl") is reader_of("rows.txt") is jsonl
    assert reader_of("rows.jsonl", "jsonl") is jsonl
    assert type(reader_of("rows.txt", table)).__name__ == "Table"
    assert type(reader_of("table:a", table)).__name__ == "Table"
    assert reader_of("builtin:digits-clean", table) is builtin, "a prefix says what a set is"
    assert list(named_sets(["table:a", "b.jsonl"], table)) == ["a", "b"]


def test_an_unknown_reader_is_refused():
    with pytest.raises(ConfigError, match=r"unknown reader 'kalid' in 'data.format'; did you mean 'kaldi'\?"):
        reader_of("rows.txt", "kalid")


def test_a_prefix_that_no_reader_has_is_refused():
    with pytest.raises(ConfigError, match=r"no reader claims 'builtn:digits-clean'; did you mean 'builtin:'\?"):
        reader_of("builtn:digits-clean")
    with pytest.raises(ConfigError, match=r"no reader claims 's3:bucket'; there are: builtin:, hf:, open-asr:"):
        reader_of("s3:bucket")


def test_rows_without_lines_are_streamed_and_named(table: str):
    rows = read_set("table:a", ReadOptions(format=table, limit=3))
    assert [one.clip.name for one in rows.examples] == ["0.wav", "1.wav"]
    assert [str(one) for one in rows.bad] == ["shard 0, row 1 (example broken): its key has two recordings; remove one"]
    report = check("table:a", ReadOptions(format=table, limit=3))
    assert [row.line for row in report.bad] == ["shard 0, row 0", "shard 0, row 1", "shard 0, row 1"]
    with pytest.raises(DataError, match=r"table:a: 1 of 3 row\(s\) cannot be used:\n  shard 0, row 1"):
        load_set("table:a", load_config(flags={"data.format": table}), limit=3)


def test_recordings_of_every_kind(tmp_path: Path):
    (clip,) = (one.clip for one in builtin_set("digits-clean")[:1])
    soundfile.write(tmp_path / "a.wav", np.zeros(8000), 16000)
    packed = Embedded("shard/a", (tmp_path / "a.wav").read_bytes)
    (tmp_path / "table.py").write_text(TABLE)

    class Mixed:
        def read(self, spec, options):
            for number, audio in enumerate(("a.wav", Path("a.wav"), packed, [packed], clip)):
                yield Row(number, {"audio": audio, "text": "", "id": number}, tmp_path)

    from antiphon.data.examples import to_examples

    rows = to_examples("mixed", Mixed().read("", ReadOptions()), ReadOptions())
    assert [len(one.clip.load(16000)) for one in rows.examples[:4]] == [8000] * 4
    assert rows.examples[4].clip is clip


def test_built_in_sets_are_what_they_were():
    options = ReadOptions(columns={"audio": "wav", "text": "txt"}, task="text", limit=40)
    assert tuple(read_set("builtin:commands-noisy", options).examples) == builtin_set("commands-noisy")[:40]
    assert set(OWN_KEYS) >= {"audio", "text"}


def test_a_built_in_set_is_checked_and_counted():
    report = check("builtin:digits-noisy", ReadOptions(limit=5), max_seconds=1.0)
    assert (report.rows, report.good, report.bad, report.rates) == (5, 5, [], {})
    assert report.durations is not None
    assert report.durations.min > 1
    assert (report.over_long, report.languages) == (5, {"en": 5})
    found = stats("builtin:digits-noisy", ReadOptions(limit=5))
    assert found.hours == pytest.approx(report.hours)
    assert found.words == sum(len(one.text.split()) for one in builtin_set("digits-noisy")[:5])
    with pytest.raises(ConfigError, match="there is no built-in set 'digits-noise'"):
        check("builtin:digits-noise")


def test_the_first_rows_are_read_alone(tmp_path: Path):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"audio": f"{n}.wav", "text": ""}) + "\n" for n in range(3)) + "{\n")
    assert len(read_set(path, ReadOptions(limit=3)).require_good().examples) == 3
