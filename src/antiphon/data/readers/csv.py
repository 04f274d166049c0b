"""Tables of text with a header line, CSV and TSV; Common Voice's among them."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from antiphon.data import content
from antiphon.data.fields import fields_of
from antiphon.data.files import folder_of, root_of, text_of
from antiphon.data.rows import BadRow, ReadOptions, Row
from antiphon.errors import DataError

TIMES = ("begin_time", "end_time", "duration")


def claims(spec: str) -> bool:
    return Path(spec.removesuffix(".gz")).suffix in (".csv", ".tsv") or content.form_of(spec) == "csv"


def read(spec: str, options: ReadOptions) -> Iterator[Row | BadRow]:
    """Read a table; the header says which of tab, comma, semicolon and bar stands between its cells.

    Paths are relative to the table's folder, to `clips` in it as in Common Voice, or to the working folder; the first
    row decides. An empty cell is an empty text, and no value in every other column. Tabs separate cells wherever they
    stand; of quotes around a cell only a pair is taken off.

    Raises `DataError` if the file is no table, or has no column for the audio.
    """
    content.require(spec, "csv")
    with text_of(spec) as file:
        header, delimiter = _header(spec, file)
        keys = _keys(spec, header, options)
        folder: Path | str | None = None
        for line, cells in _tabbed(file) if delimiter == "\t" else _quoted(spec, file, delimiter):
            if len(cells) != len(header):
                yield BadRow(line, None, f"has {len(cells)} cells and the header {len(header)}; correct the row")
                continue
            values = dict(zip(header, cells, strict=True))
            if any("\udc80" <= c <= "\udcff" for cell in cells if not cell.isascii() for c in cell):
                yield BadRow(line, None, "not UTF-8; save the file as UTF-8")
                continue
            if folder is None:
                beside = folder_of(spec)
                below = [beside / "clips"] if isinstance(beside, Path) else []
                folder = root_of(values.get(keys.get("audio", "")), beside, *below, Path())
            yield Row(line, _typed(values, keys), folder, keys)


def _header(spec: str, file: TextIO) -> tuple[list[str], str]:
    line = file.readline().rstrip("\r\n")
    delimiter = content.delimiter_of(line)
    names = content.cells(line, delimiter)
    if doubled := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(f"{spec}: the header names {doubled[0]!r} twice; rename one of the columns")
    return names, delimiter


def _keys(spec: str, header: Sequence[str], options: ReadOptions) -> dict[str, str]:
    keys = dict(fields_of(header, options.columns))
    if absent := [key for key in options.columns.values() if key not in header]:
        raise DataError(f"{spec}: has no column {absent[0]!r}; its columns are {', '.join(header)}")
    if "audio" not in keys and "prompt" not in header:
        raise DataError(
            f"{spec}: no column of its first line is known to hold recordings ({', '.join(header)[:120]}); give it a "
            "header line, or name the column: --columns audio=COLUMN"
        )
    return keys


def _quoted(spec: str, file: TextIO, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """The line and cells of each row, with quotes as in RFC 4180."""
    csv.field_size_limit(sys.maxsize)  # Cells may be data URIs.
    reader = csv.reader(file, delimiter=delimiter, strict=True)
    line = 2
    try:
        for cells in reader:
            if cells:
                yield line, cells
            line = reader.line_num + 2
    except csv.Error as error:
        raise DataError(f"{spec}: line {line} is not CSV ({error}); correct its quotes") from error


def _tabbed(file: TextIO) -> Iterator[tuple[int, list[str]]]:
    for number, line in enumerate(file, start=2):
        stripped = line.rstrip("\r\n")
        if stripped:
            yield number, [_unquoted(cell) for cell in stripped.split("\t")]


def _unquoted(cell: str) -> str:
    inner = cell[1:-1] if len(cell) > 1 and cell[0] == cell[-1] == '"' else None
    if inner is None or '"' in inner.replace('""', ""):
        return cell
    return inner.replace('""', '"')


def _typed(values: dict[str, str], keys: dict[str, str]) -> dict[str, Any]:
    """The cells with times as numbers and nothing for empty ones."""
    text = keys.get("text")
    typed: dict[str, Any] = {key: value if value or key == text else None for key, value in values.items()}
    for field in TIMES:
        value = typed.get(keys.get(field, ""))
        if value is not None:
            try:
                typed[keys[field]] = float(value)
            except ValueError:
                continue  # Reported with its row, if it is read.
    return typed
