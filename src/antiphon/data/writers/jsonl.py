"""JSONL files, one JSON object per line, in our own fields."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from antiphon.data.export import Out, fields
from antiphon.runs.atomic import finite
from antiphon.types import Example


def write(examples: Iterable[Example], out: Out) -> str:
    """Write `NAME.jsonl`; recordings that are no files go to `audio/`."""
    name = f"{out.name}.jsonl"
    with (out.folder / name).open("w", encoding="utf-8") as file:
        for example in examples:
            file.write(json.dumps(finite(row(example, out)), ensure_ascii=False, allow_nan=False) + "\n")
    return name


def row(example: Example, out: Out) -> dict[str, Any]:
    """An example in our own fields."""
    if example.clip is None:
        return fields(example)
    found = out.recording(example)
    audio = {"audio": found.path, "begin_time": found.begin, "end_time": found.end, "channel": found.channel}
    return {name: value for name, value in audio.items() if value not in (None, -1)} | fields(example)
