"""JSON files: one array of objects, alone or as the only list in an object."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from antiphon.data import content
from antiphon.data.files import opened
from antiphon.data.readers.jsonl import Folder
from antiphon.data.rows import BadRow, ReadOptions, Row
from antiphon.data.values import kind
from antiphon.errors import DataError


def claims(spec: str) -> bool:
    return content.form_of(spec) == "json"


def read(spec: str, options: ReadOptions) -> Iterator[Row | BadRow]:
    """Read `[{…}, {…}]`, or the rows in `{"data": [{…}, {…}]}`, whatever their key; paths as in JSONL files.

    The file is read whole. Raises `DataError` if it is not JSON or holds no such array, or several.
    """
    content.require(spec, "json")
    folder = Folder(spec, options)
    for number, values in enumerate(_array(spec), start=1):
        if isinstance(values, dict):
            yield Row(f"entry {number}", values, folder.of(values))
        else:
            yield BadRow(f"entry {number}", None, f"the entry is {kind(values)}, not an object; correct it")


def _array(spec: str) -> list[Any]:
    with opened(spec) as file:
        raw = file.read()
    try:
        found = json.loads(raw.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise DataError(f"{spec}: not UTF-8 at byte {error.start + 1}; save the file as UTF-8") from error
    except json.JSONDecodeError as error:
        raise DataError(
            f"{spec}: not valid JSON at line {error.lineno}, column {error.colno} ({error.msg}); correct it there"
        ) from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{spec}: JSON that cannot be read ({error}); simplify it") from error
    if isinstance(found, list):
        return found
    lists = {key: one for key, one in found.items() if isinstance(one, list) and one and isinstance(one[0], dict)}
    if len(lists) == 1:
        return next(iter(lists.values()))
    if lists:
        raise DataError(f"{spec}: holds several lists of objects, {', '.join(lists)}; write the one to read as a file")
    raise DataError(f"{spec}: holds one object without a list of rows; write a list: [{{…}}, {{…}}]")
