"""JSONL files: one JSON object per line, in UTF-8, gzipped or not."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from antiphon.data import content
from antiphon.data.fields import fields_of
from antiphon.data.files import folder_of, lines, root_of
from antiphon.data.rows import BadRow, ReadOptions, Row
from antiphon.data.values import kind
from antiphon.errors import DataError


def claims(spec: str) -> bool:
    return Path(spec.removesuffix(".gz")).suffix in (".jsonl", ".ndjson", ".json")


def read(spec: str, options: ReadOptions) -> Iterator[Row | BadRow]:
    """Read a JSONL file. Relative paths are relative to its folder, or to the working folder if they are there.

    Raises `DataError` if the file cannot be read, or is plainly of another form.
    """
    content.require(spec, "jsonl")
    folder = Folder(spec, options)
    for line, raw in lines(spec):
        yield row(line, raw, folder)


def row(line: int, raw: bytes, folder: Folder) -> Row | BadRow:
    """The row of a line."""
    try:
        values = _parse(raw)
    except DataError as error:
        return BadRow(line, None, str(error))
    return Row(line, values, folder.of(values))


class Folder:
    """What relative paths of a file's rows are relative to; the first row decides."""

    def __init__(self, spec: str, options: ReadOptions) -> None:
        self._spec, self._columns = spec, options.columns
        self.first: Path | str | None = None
        """Of the first row; None until there was one."""

    def of(self, values: Mapping[str, Any]) -> Path | str:
        if self.first is None:
            audio = values.get(fields_of(values, self._columns).get("audio", "audio"))
            first = audio[0] if isinstance(audio, list) and audio else audio
            self.first = root_of(first, folder_of(self._spec), Path())
        return self.first


def _parse(raw: bytes) -> dict[str, Any]:
    try:
        row = json.loads(raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise DataError(f"not UTF-8 at byte {error.start + 1} of the line; save the file as UTF-8") from error
    except json.JSONDecodeError as error:
        raise DataError(
            f"not valid JSON at column {error.colno} ({error.msg}); each line must be one whole JSON object"
        ) from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"JSON that cannot be read ({error}); simplify the row") from error
    if not isinstance(row, dict):
        raise DataError(f'the line holds {kind(row)}, not a JSON object; write {{"audio": "a.wav", "text": "..."}}')
    return row
