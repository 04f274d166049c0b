"""An overview of the runs in a folder: state, model, algorithm and latest metrics.

Small files are read whole, `metrics.jsonl` only at its end. Damage is reported in the run's row and hides no other run.
"""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, get_args

import numpy as np

from antiphon.config import yaml
from antiphon.dashboard.read.cache import Cached
from antiphon.dashboard.read.evaluations import list_evaluations
from antiphon.dashboard.read.reasons import clean, reason
from antiphon.dashboard.read.tables import number
from antiphon.errors import AntiphonError, RunError
from antiphon.runs import best
from antiphon.runs.status import State, Status
from antiphon.tasks.columns import Column
from antiphon.tasks.summary import main_column

STALE_AFTER = 900.0
"""Seconds without an update after which a training run is called stale."""

RECENT = 50
"""Steps whose seconds say how long the others will take."""

_SIGNS = ("status.json", "config.yaml", "metrics.jsonl")
_TAIL = 1 << 16
_BLOCK = re.compile(r"^(?=[^\s#-])", re.MULTILINE)
"""The start of a top-level key."""


@dataclass(frozen=True)
class Row:
    """One run. None means missing, or not yet available."""

    id: str
    state: str
    """`Status.seen_state`, or "stale", or "damaged" if unknown."""
    step: int | None = None
    steps: int | None = None
    model: str | None = None
    algorithm: str | None = None
    started: str | None = None
    updated: str | None = None
    host: str | None = None
    measure: Column | None = None
    """The metric of `best` and `last`, "wer" or "accuracy": means over the sets of a step."""
    best: float | None = None
    last: float | None = None
    reward: float | None = None
    """Its mean at the last step."""
    left: float | None = None
    """Seconds until a running run ends, evaluations apart, if its steps take as long as the last ones did."""
    why: str | None = None
    """Why the run failed or stopped."""
    damage: tuple[str, ...] = ()
    """Files that could not be read, with the reason."""

    @property
    def live(self) -> bool:
        return self.state in ("starting", "running")


def list_rows(root: Path) -> list[Row]:
    """Every run in `root`, newest first. Folders without any of a run's files are skipped."""
    try:
        folders = [path for path in root.iterdir() if _has_a_name(path.name) and path.is_dir()]
    except OSError:
        return []
    rows = [read_row(path) for path in folders if is_run(path)]
    return sorted(rows, key=lambda row: (row.started or "", row.id), reverse=True)


def _has_a_name(name: str) -> bool:
    """Whether a folder name is not hidden and valid in a URL, that is, valid text."""
    return name[0] != "." and clean(name) == name


def is_run(path: Path) -> bool:
    return any((path / name).is_file() for name in _SIGNS)


def find(root: Path, name: str) -> Path:
    """The folder of the run `name` in `root`; `name` is untrusted.

    Raises `RunError` if it does not exist. Nothing outside `root` is accessed.
    """
    if not name or not _has_a_name(name) or "/" in name or "\\" in name or "\0" in name or not is_run(root / name):
        raise RunError(f"there is no run {name!r} in {root}; it may have been moved or removed")
    return root / name


def read_row(path: Path) -> Row:
    damage: list[str] = []
    status, model, algorithm, last = None, None, None, {}
    try:
        status = _status(path / "status.json")
    except RunError as error:
        damage.append(str(error))
    try:
        model, algorithm = _recipe(path / "config.yaml")
    except RunError as error:
        damage.append(str(error))
    try:
        last = _last_line(path / "metrics.jsonl")
    except RunError as error:
        damage.append(str(error))
    state = _state(path, status)
    pace = _pace(path / "timings.jsonl") if status and state in ("starting", "running") else None
    evaluations, damaged = list_evaluations(path)
    recognized = [one.summary for one in evaluations if one.kind == "recognized"]
    column = main_column(*recognized)
    rates = best.mean_by_step(recognized, column.key)
    reward = number(last.get("reward_mean"))
    of_best = min if column.lower_is_better else max
    return Row(
        id=path.name,
        state=state,
        step=status.step if status else last.get("step"),
        steps=status.steps if status else None,
        model=clean(model) if model else None,
        algorithm=clean(algorithm) if algorithm else None,
        started=status.started if status else None,
        updated=status.updated if status else None,
        host=clean(status.host) if status else None,
        measure=column if rates else None,
        best=of_best(rates.values(), default=None),
        last=rates[max(rates)] if rates else None,
        reward=None if np.isnan(reward) else reward,
        left=pace * (status.steps - status.step) if pace and status else None,
        why=clean(status.error or status.reason or "") or None if status else None,
        damage=tuple(map(clean, (*damage, *damaged))),
    )


def _state(path: Path, status: Status | None) -> str:
    if status is None:
        return "damaged"
    seen = status.seen_state
    if seen in ("starting", "running") and time.time() - _last_sign(path) > STALE_AFTER:
        return "stale"
    return seen


def _last_sign(path: Path) -> float:
    """When the run last wrote its status, a step or its log, in seconds since the epoch."""
    times = []
    for name in ("status.json", "metrics.jsonl", "log.txt"):
        try:
            times.append((path / name).stat().st_mtime)
        except OSError:
            continue
    return max(times, default=0.0)


def _read_status(path: Path) -> Status:
    try:
        found = json.loads(path.read_bytes())
        status = Status(**found)
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise RunError(f"{path.name} cannot be read: {reason(error)}") from error
    kinds = {"step": int, "steps": int, "pid": int, "error": str | None, "reason": str | None}
    for key, value in vars(status).items():
        odd = value not in get_args(State) if key == "state" else type(value) is int and not 0 <= value < 1 << 31
        if not isinstance(value, kinds.get(key, str)) or odd:
            raise RunError(f"{path.name} cannot be read: its {key!r} is {value!r}")
    return status


def _read_recipe(path: Path) -> tuple[str, str]:
    """Model and algorithm. Only these two blocks of the YAML are parsed, as the whole takes twenty times as long."""
    try:
        blocks = _BLOCK.split(path.read_text(encoding="utf-8"))
        return _words("".join(block for block in blocks if block.startswith(("model:", "algorithm:"))))
    except (OSError, ValueError, AntiphonError, KeyError, TypeError, RecursionError) as error:
        raise RunError(f"{path.name} cannot be read: {reason(error)}") from error


@lru_cache(1024)
def _words(blocks: str) -> tuple[str, str]:
    found = yaml.parse(blocks, "config.yaml") or {}
    algorithm = found["algorithm"]
    listed = algorithm if isinstance(algorithm, list) else [algorithm]
    return str(found["model"]), "+".join(str(one["name"]) for one in listed)


def _read_last_line(path: Path) -> dict[str, Any]:
    """The last complete line with a step; empty if there is none."""
    text, size = _read_tail(path)
    for line in reversed(text.split(b"\n")[:-1]):
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict) and type(value.get("step")) is int:
            return value
    if size and not (
        size < _TAIL and text[:1] == b"{" and b"\n" not in text
    ):  # The first line may still be incomplete.
        raise RunError(f"{path.name} cannot be read: its last line is not a step")
    return {}


def _read_pace(path: Path) -> float | None:
    """Mean seconds of the last steps; None before the first."""
    seconds = []
    for line in _read_tail(path)[0].split(b"\n")[-RECENT - 1 : -1]:
        try:
            seconds.append(number(json.loads(line)["step_seconds"]))
        except (ValueError, TypeError, KeyError, RecursionError):
            continue
    known = [value for value in seconds if value >= 0]
    return sum(known) / len(known) if known else None


def _read_tail(path: Path) -> tuple[bytes, int]:
    """The end of a file, nothing if there is none, and the file's size."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - _TAIL))
            return file.read(), size
    except FileNotFoundError:
        return b"", 0
    except OSError as error:
        raise RunError(f"{path.name} cannot be read: {reason(error)}") from error


_pace = Cached(_read_pace)
_status = Cached(_read_status)
_recipe = Cached(_read_recipe)
_last_line = Cached(_read_last_line)
