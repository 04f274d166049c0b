"""The index of a large JSONL file says of its rows what reading them one by one says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from antiphon.data import index
from antiphon.data.index import Indexed
from antiphon.data.rows import ReadOptions, Rows
from antiphon.data.scan import clip_of, reference
from antiphon.data.source import read_set
from antiphon.data.stream import PromptStream
from antiphon.errors import DataError
from antiphon.types import Example, Prompt


@pytest.fixture(autouse=True)
def _indexed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ANTIPHON_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(index, "WORTH_IT", 0)
    monkeypatch.setattr(index, "_FEW", 0)


def both(path: Path, options: ReadOptions, monkeypatch: pytest.MonkeyPatch) -> tuple[Rows, Rows]:
    """The rows of a file by its index, and one by one."""
    indexed = read_set(path, options)
    with monkeypatch.context() as patch:
        patch.setattr(index, "WORTH_IT", 1 << 40)
        return indexed, read_set(path, options)


def require_same(indexed: Rows, plain: Rows) -> None:
    assert list(indexed.examples) == list(plain.examples)
    assert [indexed.examples[at] for at in range(len(indexed.examples))] == list(plain.examples)
    assert (list(indexed.lines), list(indexed.numbers)) == (list(plain.lines), list(plain.numbers))
    assert [(row.line, row.id, row.reason, row.number) for row in indexed.bad] == [
        (row.line, row.id, row.reason, row.number) for row in plain.bad
    ]
    assert (indexed.columns, indexed.format) == (plain.columns, plain.format)


def plain_rows(count: int, **more: Any) -> list[str]:
    return [json.dumps({"audio": f"clips/{at}.wav", "text": f"word {at}"} | more) for at in range(count)]


ODD = [
    "",
    "   ",
    "{",
    "[1]",
    '{"audio": "a.wav", "text": "one"} {"audio": "b.wav", "text": "two"}',
    '{"audio": "../up.wav", "text": "café", "language": "fr"}',
    '{"audio": "./dot.wav", "text": "dot"}',
    '{"audio": "deep//slash.wav", "text": "slash"}',
    '{"audio": "/abs/a.wav", "text": "abs", "score": 0.5}',
    '{"audio": "https://host/a.wav", "text": "far"}',
    '{"audio": "data:audio/wav;base64,AAAA", "text": "inside"}',
    '{"audio": "q\\"uote.wav", "text": "quote"}',
    '{"audio": "", "text": "none"}',
    '{"audio": null, "text": "null"}',
    '{"audio": "n.wav"}',
    '{"audio": "t.wav", "text": null}',
    '{"audio": "t.wav", "text": "language English<asr_text>hello"}',
    '{"audio": "t2.wav", "text": "stop <|endoftext|>"}',
    '{"audio": "clips/0.wav", "text": "again"}',
    '{"audio": "i.wav", "text": "id", "id": "a"}',
    '{"audio": "j.wav", "text": "id", "id": "a"}',
    '{"audio": "k.wav", "text": "number", "id": 7, "speaker": 3}',
    '{"audio": "s.wav", "text": "segment", "begin_time": 1, "end_time": 2.5}',
    '{"audio": "s.wav", "text": "open", "begin_time": -1, "end_time": 0.1}',
    '{"audio": "s.wav", "text": "bad", "begin_time": "x"}',
    '{"audio": "d.wav", "text": "2020-01-01", "date": "2020-01-01", "duration": 3}',
    '{"audio": "p.wav", "text": "p", "prompt": "Translate.", "context": "names"}',
    '{"audio": "h.wav", "text": "h", "hotwords": ["x"], "channel": 1}',
    '{"audio": "m.wav", "messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "r"}]}',
    '{"audio": "tk.wav", "text": "t", "task": "classify"}',
    '{"audio": "tk2.wav", "text": "t", "task": "no such"}',
    '{"audio": "dup.wav", "text": "a", "text": "b"}',
    '{"audio": "nan.wav", "text": "n", "score": NaN}',
    '{"audio": "sur.wav", "text": "\\ud800"}',
    '{"audio": "nested.wav", "text": "n", "more": {"a": [1, "x", null]}, "language": ""}',
    '  {"audio": "blank.wav", "text": "spaces around"}  ',
    '{"audio": "日本.wav", "text": "日本語", "language": "ja", "speaker": "s"}',
]


@pytest.mark.parametrize("odd", range(len(ODD)))
def test_an_odd_row_among_plain_ones_is_read_as_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, odd: int):
    path = tmp_path / "set.jsonl"
    path.write_text("\n".join([*plain_rows(3), ODD[odd], *plain_rows(5)[3:], ODD[odd]]), encoding="utf-8")
    require_same(*both(path, ReadOptions(), monkeypatch))


@pytest.mark.parametrize(
    "options",
    [
        ReadOptions(),
        ReadOptions(limit=9),
        ReadOptions(text_required=False),
        ReadOptions(columns={"text": "words"}),
        ReadOptions(channel=1, end_slack=0.25),
        ReadOptions(task="classify"),
    ],
)
def test_all_odd_rows_in_small_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: ReadOptions):
    path = tmp_path / "set.jsonl"
    content = "\r\n".join([*plain_rows(1), *ODD, *plain_rows(20, words="said"), *reversed(ODD)])
    path.write_bytes(b"\xef\xbb\xbf" + content.encode())
    for block in (64, 300, 1 << 20):
        monkeypatch.setattr(index, "_BLOCK", block)
        monkeypatch.setenv("ANTIPHON_CACHE", str(tmp_path / f"cache-{block}"))
        require_same(*both(path, options, monkeypatch))


@pytest.mark.parametrize(
    "more",
    [
        {"begin_time": 1, "end_time": 2.5},
        {"offset": 0.5, "duration": 2},
        {"offset": 0.1, "duration": 0.2, "end": 3.5},
        {"duration": 2.25},
        {"id": "same"},
        {"utt": "same"},
        {"language": "de", "speaker_id": 12, "score": 1.5},
    ],
)
def test_files_whose_rows_all_have_a_further_field(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: dict[str, Any]
):
    path = tmp_path / "set.jsonl"
    path.write_text("\n".join(plain_rows(4, **more)))
    require_same(*both(path, ReadOptions(), monkeypatch))


def test_two_columns_that_may_both_be_the_text_are_refused(tmp_path: Path):
    path = tmp_path / "set.jsonl"
    path.write_text("\n".join(json.dumps({"audio": "a.wav", "sentence": "a", "transcript": "b"}) for _ in range(4)))
    with pytest.raises(DataError, match="may both be the text"):
        read_set(path)


def test_an_index_is_used_again_until_the_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "set.jsonl"
    path.write_text("\n".join(plain_rows(4)))
    before = read_set(path)
    assert isinstance(before.examples, Indexed)
    (kept,) = (tmp_path / "cache" / "index").glob("*.arrow")
    with monkeypatch.context() as patch:
        patch.setattr(index, "_Builder", None)
        require_same(read_set(path), before)
    path.write_text("\n".join(plain_rows(5)))
    assert len(read_set(path).examples) == 5
    kept.write_bytes(kept.read_bytes()[:-40])
    path.write_text("\n".join(plain_rows(4)))
    assert len(read_set(path).examples) == 4


def test_damaged_and_foreign_files_in_the_cache_do_no_harm(tmp_path: Path):
    path = tmp_path / "set.jsonl"
    path.write_text("\n".join(plain_rows(4)))
    read_set(path)
    (kept,) = (tmp_path / "cache" / "index").glob("*.arrow")
    whole = kept.read_bytes()
    for content in (b"", whole[: len(whole) // 2], b"{}" * 500, whole[:200] + bytes(200) + whole[400:]):
        kept.write_bytes(content)
        assert [example.text for example in read_set(path).examples] == [f"word {at}" for at in range(4)]


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ANTIPHON_CACHE", str(tmp_path / "file"))
    path = tmp_path / "set.jsonl"
    path.write_text("\n".join(plain_rows(4)))
    assert len(read_set(path).examples) == 4


def test_a_line_that_changes_while_the_set_is_in_use_is_named(tmp_path: Path):
    path = tmp_path / "set.jsonl"
    path.write_text("\n".join(plain_rows(4)))
    examples = read_set(path).examples
    path.write_text("\n".join(reversed(plain_rows(4))))
    with pytest.raises(DataError, match=r"line 1 has changed"):
        print(examples[0])


def test_steps_see_the_same_examples_in_the_same_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "set.jsonl"
    path.write_text("\n".join(plain_rows(10)))
    seen = []
    for rows in both(path, ReadOptions(), monkeypatch):
        stream = PromptStream(rows.examples, 3, seed=5, prompt=prompt)
        seen.append([[example.id for example in stream.examples(step)] for step in range(8)])
        stream.close()
    assert seen[0] == seen[1]


def prompt(example: Example) -> Prompt:
    return Prompt(example.id, None, 16000)


def test_slices_and_ends_are_those_of_a_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "set.jsonl"
    path.write_text("\n".join(plain_rows(7)))
    indexed, plain = (rows.examples for rows in both(path, ReadOptions(), monkeypatch))
    for cut in (slice(2), slice(1, 6, 2), slice(None, None, -1), slice(5, 3), slice(-3, None)):
        assert list(indexed[cut]) == list(plain[cut])
    assert (indexed[-1], len(indexed)) == (plain[-1], 7)
    with pytest.raises(IndexError):
        print(indexed[7])


def test_clips_are_named_alike_by_both_ways(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "set.jsonl"
    spans = [{"begin_time": 0.1 * at, "end_time": 1 + at / 3} for at in range(5)]
    path.write_text(
        "\n".join(json.dumps({"audio": f"é {at}.wav", "text": "x"} | span) for at, span in enumerate(spans))
    )
    indexed, plain = both(path, ReadOptions(), monkeypatch)
    assert indexed.examples.table["clip"].to_pylist() == [reference(example.clip) for example in plain.examples]  # pyright: ignore
    assert [clip_of(one) for one in indexed.examples.table["clip"].to_pylist()] == [one.clip for one in plain.examples]  # pyright: ignore


NEMO = [
    {"audio_filepath": "a.wav", "duration": 3},
    {"audio_filepath": "/b.wav", "duration": 3.1, "lang": "de"},
    {"audio_filepath": "b.wav", "duration": None},
    {"audio_filepath": "c.wav", "duration": -1},
    {"audio_filepath": "d.wav", "duration": "3"},
    {"audio_filepath": "e.wav", "duration": 1e12},
    {"audio_filepath": "f.wav", "duration": True},
    {"audio_filepath": "g.wav", "duration": 1e-7, "offset": 2},
    {"audio_filepath": "h.wav", "duration": 0.2, "offset": 0.1},
    {"audio_filepath": "i.wav", "duration": -0.2, "offset": 0.5},
    {"audio_filepath": "j.wav", "offset": 0.5},
    {"audio_filepath": "k.wav", "duration": 2, "end_time": 1.5},
    {"audio": "l.wav", "duration": 2},
    {"audio_filepath": "m.wav"},
]


@pytest.mark.parametrize("channel", ["mix", 1])
@pytest.mark.parametrize("odd", range(2, len(NEMO)))
def test_rows_of_manifests_say_how_long_their_clips_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, odd: int, channel: Any
):
    path = tmp_path / "manifest.jsonl"
    rows = [*NEMO[:2], NEMO[odd]] if odd % 2 else [NEMO[odd], {**NEMO[odd], "audio_filepath": "z.wav"}]
    path.write_text("\n".join(json.dumps(row | {"text": "t"}) for row in rows))
    require_same(*both(path, ReadOptions(channel=channel), monkeypatch))
    indexed = read_set(path, ReadOptions(channel=channel)).examples
    assert isinstance(indexed, Indexed)
    for name, example in zip(indexed.table["clip"].to_pylist(), indexed, strict=True):
        assert name == reference(example.clip)
