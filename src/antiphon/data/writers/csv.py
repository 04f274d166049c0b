"""CSV files with a header, in our own fields; lists and objects are JSON in their cell."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from typing import Any

from antiphon.data.export import Out
from antiphon.data.writers import jsonl
from antiphon.types import Example

_FIRST = ("id", "audio", "begin_time", "end_time", "text", "language", "speaker", "task")


def write(examples: Iterable[Example], out: Out) -> str:
    """Write `NAME.csv`; recordings that are no files go to `audio/`."""
    return table(examples, out, ",", ".csv")


def table(examples: Iterable[Example], out: Out, delimiter: str, ending: str) -> str:
    """Write a table with all columns that some example has."""
    rows = [jsonl.row(example, out) for example in examples]
    known = {name: None for row in rows for name in row}
    names = [name for name in _FIRST if name in known] + [name for name in known if name not in _FIRST]
    with (out.folder / f"{out.name}{ending}").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, names, delimiter=delimiter, lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
    return f"{out.name}{ending}"


def _cell(value: Any) -> Any:
    return value if isinstance(value, str | int | float) else json.dumps(value, ensure_ascii=False)
