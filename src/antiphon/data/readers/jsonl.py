"""JSONL files: one JSON object per line, in UTF-8."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from antiphon.data.rows import BadRow, ReadOptions, Row
from antiphon.data.values import kind
from antiphon.errors import DataError


def claims(spec: str) -> bool:
    return Path(spec).suffix in (".jsonl", ".ndjson", ".json")


def read(spec: str, options: ReadOptions) -> Iterator[Row | BadRow]:
    """Read a JSONL file. Paths are relative to its folder; blank lines are skipped."""
    path = Path(spec)
    for line, raw in _lines(path):
        try:
            yield Row(line, _parse(raw), path.parent)
        except DataError as error:
            yield BadRow(line, None, str(error))


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yields each non-blank line's number, from 1, and bytes, without a UTF-8 byte order mark."""
    try:
        with path.open("rb") as file:
            for number, raw in enumerate(file, start=1):
                if number == 1 and raw.startswith((b"\xff\xfe", b"\xfe\xff")):
                    raise DataError(f"{path}: the file is UTF-16; save it as UTF-8")
                content = (raw.removeprefix(b"\xef\xbb\xbf") if number == 1 else raw).strip()
                if content:
                    yield number, content
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); correct the path of the dataset") from error


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
