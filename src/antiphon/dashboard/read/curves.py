"""A run's metrics as curves over steps, time or samples, smoothed and downsampled for display."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np

from antiphon.dashboard.read.evaluations import Evaluated, list_evaluations
from antiphon.dashboard.read.tables import GAP, Table, number, read_table
from antiphon.tasks.columns import Column

POINTS = 600
"""Maximum points of all curves in a chart, with at least `LEAST` each: charts are some 300 pixels wide."""
LEAST = 200
FILES = ("metrics.jsonl", "timings.jsonl", "gate.jsonl", "guard.jsonl", "evals")
"""The files that curves are read from."""

Axis = Literal["step", "time", "samples"]
Point = list[float | None]
"""[x, y]; y is None where the line has a gap."""


@dataclass(frozen=True)
class Measured:
    """An evaluation set over a run; arrays are [evaluations], rates are fractions."""

    x: list[float]
    y: list[float | None]
    """None for an evaluation without a rate, and so below."""
    low: list[float | None]
    """Lower ends of the 95% intervals; the rate itself if there is no interval."""
    high: list[float | None]


@dataclass(frozen=True)
class Curves:
    """A snapshot of all curves in a run folder."""

    metrics: Table
    timings: Table
    gate: Table
    guard: Table
    evaluations: list[Evaluated]
    damage: list[str]

    @classmethod
    def of(cls, run: Path) -> Curves:
        metrics, timings, gate, guard = (read_table(run / name) for name in FILES[:-1])
        evaluations, damaged = list_evaluations(run)
        notes = [table.damage for table in (metrics, timings, gate, guard) if table.damage]
        return cls(metrics, _with_speed(metrics, timings), gate, guard, evaluations, [*notes, *damaged])

    @property
    def reward_parts(self) -> list[str]:
        return [key for key in self.metrics.columns if key.startswith("reward/")]

    @cached_property
    def measures(self) -> dict[tuple[str, str], Column]:
        """The main metric of all evaluations, by set and key."""
        return {(one.set, one.column.key): one.column for one in self.evaluations}

    def has(self, axis: Axis) -> bool:
        table, key = {"time": (self.timings, "step_seconds"), "samples": (self.metrics, "samples")}.get(
            axis, (None, "")
        )
        return table is None or key in table.columns

    def end(self, axis: Axis) -> float:
        """The last step or evaluation; 0 before the first."""
        steps = np.append(self.metrics.steps, [float(one.step) for one in self.evaluations])
        places = self.place(steps, axis)
        return float(short(places[np.isfinite(places)]).max(initial=0.0))

    def alarms(self, axis: Axis) -> list[float]:
        """Steps at which the guard found a group significantly worse."""
        places = self.place(self.guard.steps[self.guard.column("worse") > 0], axis)
        return places[np.isfinite(places)].tolist()

    def measured(self, set_name: str, measure: str, axis: Axis) -> Measured:
        same = [one for one in self.evaluations if (one.set, one.column.key) == (set_name, measure)]
        places = self.place(np.array([one.step for one in same], float), axis)
        rows = [(x, number(one.value), interval(one)) for x, one in zip(places.tolist(), same, strict=True)]
        placed = [row for row in rows if np.isfinite(row[0])]
        kept = [(y, *(ends or (y, y))) if np.isfinite(y) else (None, None, None) for _, y, ends in placed]
        return Measured([x for x, _, _ in placed], *([row[column] for row in kept] for column in range(3)))

    def line(self, table: Table, key: str, axis: Axis, window: int = 1, most: int = POINTS) -> list[Point]:
        """At most `most` points, each the mean of the last `window` values, and one of None for each gap between."""
        x, y = self.place(table.steps, axis), table.column(key)
        placed = np.isfinite(x) & ~np.isnan(y)
        x, y = x[placed], y[placed]
        there = np.flatnonzero(y != GAP)
        values = trailing_mean(y[there], window)
        chosen = thin(values, most)
        points: list[Point] = np.stack([short(x[there[chosen]]), short(values[chosen])], axis=1).tolist()
        missing = np.cumsum(y == GAP)[there[chosen]]
        for place in np.flatnonzero(np.diff(missing))[::-1].tolist():
            points.insert(place + 1, [points[place][0], None])
        return points

    def place(self, steps: np.ndarray, axis: Axis) -> np.ndarray:
        """The x values of steps: steps, seconds of training, or samples."""
        if axis == "step":
            return steps
        if axis == "time":
            table, amounts = self.timings, self.timings.column("step_seconds")
        else:
            table, amounts = self.metrics, self.metrics.column("samples")
        known = np.isfinite(amounts)
        if not known.any():
            return np.full(len(steps), np.nan)
        ends, order = table.steps[known], np.argsort(table.steps[known], kind="stable")
        passed = np.cumsum(amounts[known][order])
        return np.interp(steps, np.concatenate([[0.0], ends[order]]), np.concatenate([[0.0], passed]), right=np.nan)


def interval(evaluation: Evaluated) -> tuple[float, float] | None:
    """The 95% interval of its value, if any."""
    ends = evaluation.interval
    if not isinstance(ends, list) or len(ends) != 2 or not np.isfinite([number(end) for end in ends]).all():
        return None
    return ends[0], ends[1]


def trailing_mean(values: np.ndarray, window: int) -> np.ndarray:
    """The moving mean of each value [n] and up to `window` − 1 before it; the first are means of fewer."""
    if window <= 1 or len(values) == 0:
        return values
    sums = np.concatenate([[0.0], np.cumsum(values)])
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(0, ends - window)
    return (sums[ends] - sums[starts]) / (ends - starts)


def thin(values: np.ndarray, most: int) -> np.ndarray:
    """Downsample `values` [n] to indices [≤ most]: the lowest and highest value of each equal portion.

    This keeps spikes of single steps.
    """
    count, portions = len(values), most // 2
    if count <= most:
        return np.arange(count)
    width = -(-count // portions)
    padded = np.full(portions * width, np.nan)
    padded[:count] = values
    table = padded.reshape(portions, width)[: -(-count // width)]
    starts = np.arange(len(table)) * width
    return np.unique(np.concatenate([starts + np.nanargmin(table, axis=1), starts + np.nanargmax(table, axis=1)]))


def _with_speed(metrics: Table, timings: Table) -> Table:
    """`timings` with `audio_speed`: seconds of audio processed per second."""
    seconds = timings.columns.get("step_seconds")
    heard = metrics.columns.get("audio_seconds")
    if seconds is None or heard is None or not np.any(heard > 0):
        return timings
    of_step = dict(zip(metrics.steps.tolist(), heard.tolist(), strict=True))
    audio = np.array([of_step.get(step, np.nan) for step in timings.steps.tolist()])
    speed = np.divide(audio, seconds, out=np.full(len(seconds), np.nan), where=seconds > 0)
    return Table(timings.steps, {**timings.columns, "audio_speed": speed}, timings.damage)


def short(values: np.ndarray) -> np.ndarray:
    """Round to six digits, which a screen cannot distinguish, at a third of the bytes."""
    size = np.where(np.abs(values) < 1e-290, 1.0, np.abs(values))
    scale = 10.0 ** (5 - np.floor(np.log10(size)))
    return np.round(values * scale) / scale
