"""The numbers of a JSONL file as columns, read on from where the last look ended, so that watching a run is cheap."""

from __future__ import annotations

import json
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from antiphon.dashboard.read.cache import Stamp, stamp

KEEP = 64
"""Files whose columns are held; of those looked at longest ago nothing is left."""


@dataclass(frozen=True)
class Table:
    """Lines with a `step`, in the order of the file, n of them."""

    steps: np.ndarray
    """[n]"""
    columns: dict[str, np.ndarray]
    """[n] each; NaN where a line has no such number."""
    damage: str | None = None
    """Which lines could not be read, or why none could."""

    def column(self, key: str) -> np.ndarray:
        """[n]; all NaN for an unknown key."""
        found = self.columns.get(key)
        return np.full(len(self.steps), np.nan) if found is None else found


EMPTY = Table(np.empty(0), {})


@dataclass
class _Growing:
    """What was read so far of a file to which lines are added."""

    stamp: Stamp
    offset: int = 0
    lines: int = 0
    bad: int = 0
    first_bad: int = 0
    steps: np.ndarray = field(default_factory=lambda: np.empty(0))
    columns: dict[str, np.ndarray] = field(default_factory=dict)

    def add(self, data: bytes) -> None:
        """Takes the whole lines of `data`; what follows the last line feed is still being written, or torn."""
        end = data.rfind(b"\n") + 1
        self.offset += end
        rows = []
        for line in data[:end].decode(errors="replace").split("\n")[:-1]:
            self.lines += 1
            row = _row(line)
            if row is None:
                self.bad += 1
                self.first_bad = self.first_bad or self.lines
            else:
                rows.append(row)
        before, added = len(self.steps), len(rows)
        self.steps = np.append(self.steps, [row["step"] for row in rows])
        for key in self.columns.keys() | {key for row in rows for key in row} - {"step"}:
            numbers = [number(row.get(key)) for row in rows]
            old = self.columns.get(key)
            if old is not None or not np.isnan(numbers).all():
                old = np.full(before, np.nan) if old is None else old
                self.columns[key] = np.append(old, numbers) if added else old

    def table(self, name: str) -> Table:
        several = f", and {self.bad - 1} more" if self.bad > 1 else ""
        damage = f"{name}, line {self.first_bad} is left out: it is no JSON object with a step{several}"
        return Table(self.steps, dict(self.columns), damage if self.bad else None)


def _row(line: str) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) and type(row.get("step")) is int and 0 <= row["step"] < 1 << 53 else None


def number(value: Any) -> float:
    """`value` where it is a finite number that can be drawn, else NaN."""
    return float(value) if type(value) in (int, float) and abs(value) < 1e300 else np.nan


class _Tables:
    def __init__(self) -> None:
        self._kept: OrderedDict[Path, tuple[_Growing, Table]] = OrderedDict()
        self._lock = Lock()

    def __call__(self, path: Path) -> Table:
        """The columns of `path` as it is now; an empty table where there is no file."""
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
            self._kept.move_to_end(path)
            if len(self._kept) > KEEP:
                self._kept.popitem(last=False)
            return table


read_table = _Tables()
