"""Crash-safe JSONL files: each line is synced, and a partial last line is ignored."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from antiphon.errors import RunError
from antiphon.runs.atomic import finite, naming, write_text


def encode(value: Any) -> str:
    """One line of JSON without a newline; NaN and infinities become null."""
    return json.dumps(finite(value), ensure_ascii=False, allow_nan=False)


def append(path: Path, value: Mapping[str, Any]) -> None:
    """Append a line and sync it to disk. A partial last line is dropped first."""
    extend(path, [value])


def extend(path: Path, values: Sequence[Mapping[str, Any]]) -> None:
    """Append several lines, as `append` does one."""
    text = "".join(f"{encode(value)}\n" for value in values).encode()
    with naming(path), path.open("a+b") as file:
        _drop_torn_line(file)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def read(path: Path) -> list[dict[str, Any]]:
    """Every complete line; empty if there is no file.

    Raises `RunError` for a complete line that is not a JSON object.
    """
    if not path.exists():
        return []
    *whole, _torn = path.read_bytes().split(b"\n")
    return [_decode(line, path, number) for number, line in enumerate(whole, start=1)]


def keep_to_step(path: Path, step: int) -> None:
    """Atomically drop each line whose `step` is greater than `step`."""
    rows = read(path)
    if path.exists():
        write_text(path, "".join(f"{encode(row)}\n" for row in rows if row["step"] <= step))


def _drop_torn_line(file: Any) -> None:
    end = file.seek(0, os.SEEK_END)
    if end == 0:
        return
    file.seek(end - 1)
    if file.read(1) != b"\n":
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)


def _decode(line: bytes, path: Path, number: int) -> dict[str, Any]:
    try:
        value = json.loads(line)
        if isinstance(value, dict):
            return value
        reason = "not a JSON object"
    except (ValueError, RecursionError) as error:
        reason = str(error)
    raise RunError(f"{path}, line {number} is damaged ({reason}); remove the line or the run folder")
