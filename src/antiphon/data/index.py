"""The index of a large JSONL file: where each row is, what it is called, what it says and which clip it names.

Made once for a file of the same size and time of change, and kept in the cache. The values of an example always come
from its own line, which is read when the example is asked for.
"""

from __future__ import annotations

import json
import os
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa

from antiphon.data import cache, plain
from antiphon.data.examples import Maker, duplicate
from antiphon.data.files import lines
from antiphon.data.indexed import Indexed, repeated
from antiphon.data.readers import jsonl
from antiphon.data.rows import BadRow, ReadOptions, Row, Rows
from antiphon.data.scan import reference
from antiphon.errors import DataError
from antiphon.tasks.request import ASKING
from antiphon.types import Example

WORTH_IT = 4 << 20
"""Bytes of a file from which on it is indexed: some twenty thousand rows, which are read in a second."""
_FEW = 20_000
"""Rows that are read one by one all the same."""
_BLOCK = 8 << 20
_FORM = 2
"""Raised whenever the index of the same file would be another."""
_MOST_BAD = 10_000
"""The index of a file with more bad rows is not kept."""
_DESCRIBED = {
    "id": pa.string(),
    "text": pa.string(),
    "language": pa.string(),
    "speaker": pa.string(),
    "clip": pa.string(),
    "named": pa.bool_(),
    "asks": pa.bool_(),
}
_PLACED = dict.fromkeys(("line", "number", "offset", "length"), pa.int64())
_SCHEMA = pa.schema({**_PLACED, **_DESCRIBED})
"""`clip` is a `scan.reference`, and `named` says whether the id is the row's own; `asks`, whether the
row may ask something of its own (`antiphon.tasks.request.ASKING`)."""


class _Unfit(Exception):
    """The rows of the file depend on each other."""


def read(spec: str, options: ReadOptions, format: str) -> Rows | None:
    """The rows of a large file, from its index in the cache or from a new one; None if it is to be read row by row.
    `format` is the name of their reader.

    Raises `DataError` if it cannot be read.
    """
    path = Path(spec)
    if options.channel == "split" or (options.limit is not None and options.limit <= _FEW) or not _is_large(path):
        return None
    folder = _folder(spec, options)
    with path.open("rb") as file:
        stat = os.fstat(file.fileno())
        stamp = path.absolute(), stat.st_size, stat.st_mtime_ns, str(folder)
        name = cache.digest(_FORM, version("antiphon"), *stamp, sorted(asdict(options).items()))
        place = cache.folder() / "index" / f"{name}.arrow"
        kept = cache.read_table(place, _SCHEMA)
        if kept:
            table, about = kept[0], json.loads(kept[1]["about"])
        else:
            try:
                table, about = _Builder(spec, folder, options).build(file)
            except _Unfit:
                return None
            if len(about["bad"]) <= _MOST_BAD:
                cache.write_table(place, table.replace_schema_metadata({"about": json.dumps(about)}))
                if kept := cache.read_table(place, _SCHEMA):
                    table = kept[0]  # In the file's pages, and no longer in this process's own.
    bad = [BadRow(**row) for row in about["bad"]]
    examples = Indexed(table, _Lines(spec, options))
    return Rows(spec, examples, _numbers(table, "line"), _numbers(table, "number"), bad, about["columns"], format)


def _is_large(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            first = file.read(2)
        return path.stat().st_size >= WORTH_IT and first not in (b"\x1f\x8b", b"\xff\xfe", b"\xfe\xff")
    except OSError:
        return False


def _folder(spec: str, options: ReadOptions) -> Path:
    """What the paths of the rows are relative to."""
    folder = jsonl.Folder(spec, options)
    for line, raw in lines(spec):
        read = jsonl.row(line, raw, folder)
        if isinstance(read, Row):
            return Path(read.folder)
    return Path()


class _Lines:
    """Makes examples of lines of a file."""

    def __init__(self, spec: str, options: ReadOptions) -> None:
        self._spec, self._options = spec, options
        self._make = Maker(spec, options)
        self._folder = jsonl.Folder(spec, options)
        self._folder.first = _folder(spec, options)
        self._file = Path(spec).open("rb")  # noqa: SIM115

    def __call__(self, row: Mapping[str, Any]) -> Example:
        raw = os.pread(self._file.fileno(), row["length"], row["offset"])
        read = jsonl.row(row["line"], raw, self._folder)
        made = self._make(read) if isinstance(read, Row) else read
        if isinstance(made, BadRow) or made.id != row["id"]:
            raise DataError(f"{self._spec}: line {row['line']} has changed since the file was read; start again")
        return made


class _Builder:
    """Reads a file in blocks of lines."""

    def __init__(self, spec: str, folder: Path, options: ReadOptions) -> None:
        self._folder, self._options = folder, options
        self._make = Maker(spec, options)
        self._rows = jsonl.Folder(spec, options)
        self._rows.first = folder
        self._bad: list[BadRow] = []

    def build(self, file: BinaryIO) -> tuple[pa.Table, dict[str, Any]]:
        """The table of the good rows, and what else there is to know."""
        tables, line, number, limit = [], 1, 0, self._options.limit
        for offset, block in _blocks(file):
            places, starts, ends = _rows_of(block, first=offset == 0)
            if limit is not None:
                places, starts, ends = (one[: limit - number] for one in (places, starts, ends))
            placed = [line + places, number + np.arange(len(places)), offset + starts, ends - starts]
            table, good = self._described(block, line + places, starts, ends, number)
            columns = dict(zip(_PLACED, map(pa.array, placed), strict=True))
            whole = pa.table({**columns, **{name: table[name] for name in _DESCRIBED}}, _SCHEMA)
            tables.append(whole if good.all() else whole.filter(pa.array(good)))
            line, number = line + block.count(b"\n"), number + len(places)
            if limit is not None and number >= limit:
                break
        whole = self._distinct(pa.concat_tables(tables) if tables else _SCHEMA.empty_table())
        return whole, {"bad": [asdict(row) for row in self._bad], "columns": self._make.columns}

    def _described(
        self, block: bytes, lines: np.ndarray, starts: np.ndarray, ends: np.ndarray, number: int
    ) -> tuple[pa.Table, np.ndarray]:
        """What a block's rows say (`_DESCRIBED`), and which are good; bad ones are noted."""
        count = len(starts)
        content = np.frombuffer(block, np.uint8)
        objects = count > 0 and bool((content[starts] == ord("{")).all() and (content[ends - 1] == ord("}")).all())
        lined = b"\n".join(block[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True))
        found = plain.read(lined, count, self._folder, self._make, self._options) if objects else None
        rest = np.arange(count) if found is None else np.flatnonzero(~found[0])
        good, described = np.ones(count, bool), []
        for at in rest.tolist():
            row = jsonl.row(int(lines[at]), block[starts[at] : ends[at]], self._rows)
            made = self._make(row) if isinstance(row, Row) else row
            if isinstance(made, BadRow):
                good[at] = False
                self._bad.append(BadRow(made.line, made.id, made.reason, number + at))
            described.append({} if isinstance(made, BadRow) else _description(made, row))
        slow = pa.Table.from_pylist(described, pa.schema(_DESCRIBED))
        if found is None:
            return slow, good
        fast = found[1].select(list(_DESCRIBED)).cast(slow.schema)
        if not len(rest):
            return fast, good
        order = np.arange(count)
        order[rest] = count + np.arange(len(rest))
        return pa.concat_tables([fast, slow]).take(pa.array(order)), good

    def _distinct(self, table: pa.Table) -> pa.Table:
        """The rows whose id is new; the others are bad."""
        again = repeated(table["id"])
        if not again.any():
            return table
        column = self._make.columns.get("id", "id")
        if column not in ("id", self._options.columns.get("id")):
            raise _Unfit  # A column that only looks like an id is none where it repeats.
        refused = table.filter(pa.array(again))
        wanted, first = set(refused["id"].to_pylist()), {}
        for id, line in zip(table["id"].to_pylist(), table["line"].to_pylist(), strict=True):
            if id in wanted:
                first.setdefault(id, line)
        for row in refused.to_pylist():
            reason = duplicate(row["named"], row["clip"] != "", first[row["id"]])
            self._bad.append(BadRow(row["line"], row["id"], reason, row["number"], True))
        self._bad.sort(key=lambda row: row.number)
        return table.filter(pa.array(~again))


def _description(example: Example, row: Row | BadRow) -> dict[str, Any]:
    assert isinstance(row, Row)
    return {
        "id": example.id,
        "text": example.text,
        "language": example.language,
        "speaker": example.speaker,
        "clip": reference(example.clip),
        "named": example.id in map(str, row.values.values()),
        "asks": any(example.columns.get(name) is not None for name in ASKING),
    }


def _blocks(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Yields pieces of whole lines with their offsets."""
    offset, parts = 0, []
    while piece := file.read(_BLOCK):
        whole, newline, begun = piece.rpartition(b"\n")
        if not newline:
            parts.append(piece)
            continue
        block = b"".join([*parts, whole, newline])
        yield offset, block
        offset, parts = offset + len(block), [begun]
    if rest := b"".join(parts):
        yield offset, rest


def _rows_of(block: bytes, first: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of the lines that are not blank: their places among all, and where they begin and end, without blanks."""
    content = np.frombuffer(block, np.uint8)
    ends = np.flatnonzero(content == ord("\n"))
    if not block.endswith(b"\n"):
        ends = np.append(ends, len(content))
    starts = np.concatenate([[0], ends[:-1] + 1])
    if first and block.startswith(b"\xef\xbb\xbf"):
        starts[0] = 3
    clean = (ends > starts) & (content[np.minimum(starts, len(content) - 1)] > 32) & (content[ends - 1] > 32)
    for at in np.flatnonzero(~clean).tolist():
        line = block[starts[at] : ends[at]]
        left = line.lstrip()
        starts[at] += len(line) - len(left)
        ends[at] = starts[at] + len(left.rstrip())
    filled = np.flatnonzero(ends > starts)
    return filled, starts[filled], ends[filled]


def _numbers(table: pa.Table, name: str) -> Sequence[int]:
    """A column of whole numbers, eight bytes each."""
    return array("q", table[name].combine_chunks().to_numpy().astype(np.int64).tobytes())
