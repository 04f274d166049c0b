"""NeMo manifests: JSONL with `audio_filepath`, `duration` and, for a part of a file, `offset`."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from antiphon.data.check import seconds_of
from antiphon.data.export import Out, clip_of, fields
from antiphon.runs.atomic import finite
from antiphon.types import Example


def write(examples: Iterable[Example], out: Out) -> str:
    """Write `NAME.json`; recordings that are no files go to `audio/`. Paths are absolute, durations in seconds."""
    name = f"{out.name}.json"
    with (out.folder / name).open("w", encoding="utf-8") as file:
        for example in examples:
            file.write(json.dumps(finite(_row(example, out)), ensure_ascii=False, allow_nan=False) + "\n")
    return name


def _row(example: Example, out: Out) -> dict[str, Any]:
    found = out.recording(example)
    row: dict[str, Any] = {"audio_filepath": found.path, "duration": round(seconds_of(clip_of(example)), 6)}
    if found.begin not in (None, -1):
        row["offset"] = found.begin
    rest = fields(example)
    renamed = {"lang": rest.pop("language", None), "speaker": rest.pop("speaker", None), "channel": found.channel}
    return row | {name: value for name, value in renamed.items() if value is not None} | rest
