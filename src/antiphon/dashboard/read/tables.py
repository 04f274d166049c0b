"""The numbers of a JSONL file as columns, read on from where the last look ended, so that watching a run is cheap."""

from __future__ import annotations

import json
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

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
    first_bad: tuple[int, str] = (0, "")
    steps: list[int] = field(default_factory=list)
    columns: dict[str, tuple[list[int], list[float]]] = field(default_factory=dict)
    """Places and values."""

    def add(self, data: bytes) -> None:
        """Takes the whole lines of `data`; what follows the last line feed is still being written, or torn."""
        end = data.rfind(b"\n") + 1
        self.offset += end
        for line in data[:end].split(b"\n")[:-1]:
            self.lines += 1
            try:
                self._add_row(json.loads(line))
            except (ValueError, TypeError, AttributeError, KeyError) as error:
                self.bad += 1
                reason = "it has no step" if isinstance(error, KeyError) else "not a JSON object with a step"
                self.first_bad = self.first_bad if self.bad > 1 else (self.lines, reason)

    def _add_row(self, row: dict) -> None:
        step = row["step"]
        if type(step) is not int:
            raise TypeError("step")
        place = len(self.steps)
        self.steps.append(step)
        for key, value in row.items():
            if type(value) in (int, float) and key != "step":
                places, values = self.columns.setdefault(key, ([], []))
                places.append(place)
                values.append(value)

    def table(self, name: str) -> Table:
        count, columns = len(self.steps), {}
        for key, (places, values) in self.columns.items():
            columns[key] = np.full(count, np.nan)
            columns[key][places] = values
        line, reason = self.first_bad
        several = f", and {self.bad - 1} more" if self.bad > 1 else ""
        damage = f"{name}, line {line} is left out: {reason}{several}" if self.bad else None
        return Table(np.array(self.steps, float), columns, damage)


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
