"""Splits of sets: the same each time, with whole speakers, of the shares that were asked for."""

from __future__ import annotations

import pytest

from antiphon.data.split import parse_parts, split
from antiphon.errors import ConfigError, DataError
from antiphon.types import Example

ROWS = [Example(f"{n}", "asr", None, "", "en", f"s{n % 25}", {"room": f"r{n % 3}"}) for n in range(200)]
PARTS = {"train": 0.8, "dev": 0.1, "test": 0.1}


def ids(parts: dict[str, list[Example]]) -> dict[str, list[str]]:
    return {name: [one.id for one in rows] for name, rows in parts.items()}


def test_rows_are_split_by_their_shares_in_order():
    by, parts = split(ROWS, PARTS, "row")
    assert by == "row"
    assert {name: len(rows) for name, rows in parts.items()} == {"train": 160, "dev": 20, "test": 20}
    assert sorted((id for rows in ids(parts).values() for id in rows), key=int) == [one.id for one in ROWS]
    for rows in ids(parts).values():
        assert rows == sorted(rows, key=int)


def test_a_split_depends_on_seed_and_ids_alone():
    first = ids(split(ROWS, PARTS, "row")[1])
    backward = ids(split(ROWS[::-1], PARTS, "row")[1])
    assert {name: set(rows) for name, rows in first.items()} == {name: set(rows) for name, rows in backward.items()}
    assert first != ids(split(ROWS, PARTS, "row", seed=1)[1])


@pytest.mark.parametrize(
    ("by", "value"), [("speaker", lambda one: one.speaker), ("room", lambda one: one.columns["room"])]
)
def test_groups_stay_together(by, value):
    _, parts = split(ROWS, PARTS, by)
    of = {name: {value(one) for one in rows} for name, rows in parts.items()}
    assert all(of.values())
    assert len(set.union(*of.values())) == sum(map(len, of.values()))


def test_speakers_are_kept_together_where_there_are_enough():
    assert split(ROWS, {"a": 0.5, "b": 0.5})[0] == "speaker"
    assert split(ROWS, PARTS)[0] == "row", "25 speakers are few for three parts"
    assert split([*ROWS, Example("x", "asr", None, "")], {"a": 0.5, "b": 0.5})[0] == "row"


def test_what_cannot_be_split_is_refused():
    with pytest.raises(DataError, match="example 0 has no 'accent' to split by"):
        split(ROWS, PARTS, "accent")
    with pytest.raises(ConfigError, match="3 parts need as many groups; by language there are 1"):
        split(ROWS, PARTS, "language")
    assert all(split(ROWS[:3], PARTS, "row")[1].values()), "each part gets a group"


@pytest.mark.parametrize(
    "text", ["train", "train=1", "a=0.5,a=0.5", "a=0.5,b=x", "a=-1,b=2", "../a=1,b=1", "a=inf,b=1"]
)
def test_parts_that_are_none_are_refused(text):
    with pytest.raises(ConfigError, match="--parts"):
        parse_parts(text)


def test_shares_add_up():
    assert parse_parts("train=9, dev=1") == {"train": 0.9, "dev": 0.1}
