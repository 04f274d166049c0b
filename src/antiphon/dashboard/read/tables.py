"""The numbers of a JSONL file as columns, read incrementally, so that watching a run is cheap."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from types import NoneType
from typing import Any

import numpy as np
from cachetools import LRUCache

from antiphon.dashboard.read.cache import Stamp, stamp
from antiphon.dashboard.read.reasons import clean

GAP = -np.inf
KEEP = 64
"""Files whose columns are cached; the least recently used are dropped."""


@dataclass(frozen=True)
class Table:
    """The n lines with a `step`, in file order."""

    steps: np.ndarray
    """[n]"""
    columns: dict[str, np.ndarray]
    """[n] each; NaN if a line lacks the key, and `GAP` if its value there is null or no finite number."""
    damage: str | None = None
    """Which lines could not be read, or why the file could not."""

    def column(self, key: str) -> np.ndarray:
        """[n]; all NaN for an unknown key."""
        found = self.columns.get(key)
        return np.full(len(self.steps), np.nan) if found is None else found


EMPTY = Table(np.empty(0), {})


@dataclass
class _Growing:
    """The state of reading a growing file."""

    stamp: Stamp
    offset: int = 0
    lines: int = 0
    bad: int = 0
    first_bad: int = 0
    steps: np.ndarray = field(default_factory=lambda: np.empty(0))
    columns: dict[str, np.ndarray] = field(default_factory=dict)

    def add(self, data: bytes) -> None:
        """Parse the complete lines of `data`; text after the last line feed is still being written, or torn."""
        end = data.rfind(b"\n") + 1
        self.offset += end
        lines = data[:end].decode(errors="replace").split("\n")[:-1]
        rows = []
        for place, row in enumerate(_decode(lines), self.lines + 1):
            if isinstance(row, dict) and type(row.get("step")) is int and 0 <= row["step"] < 1 << 53:
                rows.append(row)
            else:
                self.bad += 1
                self.first_bad = self.first_bad or place
        self.lines += len(lines)
        before = len(self.steps)
        self.steps = np.append(self.steps, [row["step"] for row in rows])
        for key in self.columns.keys() | {key for row in rows for key in row} - {"step"}:
            numbers = _numbers([row.get(key, _ABSENT) for row in rows])
            old = self.columns.get(key)
            if old is not None or np.isfinite(numbers).any():
                self.columns[key] = np.append(np.full(before, np.nan) if old is None else old, numbers)

    def table(self, name: str) -> Table:
        several = f", and {self.bad - 1} more" if self.bad > 1 else ""
        damage = f"{name}, line {self.first_bad} is skipped: it is not a JSON object with a step{several}"
        return Table(
            self.steps, {clean(key): column for key, column in self.columns.items()}, damage if self.bad else None
        )


def _decode(lines: list[str]) -> list[Any]:
    """Parse each line, None if it is not JSON; all at once if all are valid, which takes half the time."""
    try:
        found = json.loads(f"[{','.join(lines)}]")
        if len(found) == len(lines):
            return found
    except (ValueError, RecursionError):
        pass
    return list(map(_decode_one, lines))


def _decode_one(line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _numbers(values: list[Any]) -> np.ndarray:
    """Each value [n] as in `Table.columns`, with a fast path for what training writes."""
    if set(map(type, values)) <= {float, NoneType}:
        found = np.array(values, float)
        return np.where(np.abs(found) < 1e300, found, GAP)
    found = np.array([number(value) for value in values], float)
    gaps = [type(value) in (int, float, NoneType) for value in values]
    return np.where(np.isnan(found) & gaps, GAP, found)


def number(value: Any) -> float:
    """`value` if it is a finite number, else NaN."""
    return float(value) if type(value) in (int, float) and abs(value) < 1e300 else np.nan


_ABSENT = object()


class _Tables:
    def __init__(self) -> None:
        self._kept: LRUCache[Path, tuple[_Growing, Table]] = LRUCache(KEEP)
        self._lock = Lock()

    def __call__(self, path: Path) -> Table:
        """The current columns of `path`; an empty table if there is no file."""
        now = stamp(path)
        if now is None:
            return EMPTY
        with self._lock:
            growing, table = self._kept.get(path, (None, EMPTY))
            if growing is None or growing.stamp != now:
                same_file = growing is not None and growing.stamp[0] == now[0] and growing.offset <= now[2]
                growing = growing if growing is not None and same_file else _Growing(now)
                growing.stamp = now
                try:
                    with path.open("rb") as file:
                        file.seek(growing.offset)
                        growing.add(file.read())
                except OSError as error:
                    return Table(
                        EMPTY.steps, {}, f"{path.name} cannot be read: {(error.strerror or str(error)).lower()}"
                    )
                table = growing.table(path.name)
            self._kept[path] = (growing, table)
            return table


read_table = _Tables()
