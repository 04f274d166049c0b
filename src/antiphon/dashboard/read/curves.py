"""A run's figures as curves: over steps, hours or samples, smoothed, and thinned to what a screen can show."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np

from antiphon.dashboard.read.evaluations import Evaluated, list_evaluations
from antiphon.dashboard.read.tables import Table, read_table

POINTS = 1000
"""Most points of a curve."""

Axis = Literal["step", "time", "samples"]


@dataclass(frozen=True)
class Measured:
    """An evaluation set over the course of a run: [evaluations] each; rates are fractions."""

    x: list[float]
    y: list[float]
    low: list[float]
    """Lower ends of the 95% intervals; the rate itself where there is no interval."""
    high: list[float]


@dataclass(frozen=True)
class Curves:
    """What a run folder holds to be drawn, as it was at one moment."""

    metrics: Table
    timings: Table
    gate: Table
    evaluations: list[Evaluated]
    damage: list[str]

    @classmethod
    def of(cls, run: Path) -> Curves:
        metrics, timings, gate = (read_table(run / f"{name}.jsonl") for name in ("metrics", "timings", "gate"))
        evaluations, damaged = list_evaluations(run)
        notes = [table.damage for table in (metrics, timings, gate) if table.damage]
        return cls(metrics, _with_speed(metrics, timings), gate, evaluations, [*notes, *damaged])

    @property
    def reward_parts(self) -> list[str]:
        return [key for key in self.metrics.columns if key.startswith("reward/")]

    @cached_property
    def measures(self) -> list[tuple[str, str]]:
        """(set, measure) of all evaluations: "wer", "accuracy" of whole answers, or a user's "score"."""
        return sorted({(one.set, one.measure) for one in self.evaluations})

    def has(self, axis: Axis) -> bool:
        table, key = {"time": (self.timings, "step_seconds"), "samples": (self.metrics, "samples")}.get(
            axis, (None, "")
        )
        return table is None or key in table.columns

    def end(self, axis: Axis) -> float:
        """Where the last step lies; 0 before the first."""
        places = self._place(self.metrics.steps, axis)
        return _short(float(np.nanmax(places))) if np.isfinite(places).any() else 0.0

    def measured(self, set_name: str, measure: str, axis: Axis) -> Measured:
        same = [one for one in self.evaluations if (one.set, one.measure) == (set_name, measure)]
        places = self._place(np.array([one.step for one in same], float), axis)
        kept = [(x, one.value, one) for x, one in zip(places.tolist(), same, strict=True) if one.value is not None]
        kept = [(x, y, *_ends(one)) for x, y, one in kept if np.isfinite([x, y]).all()]
        return Measured(*([row[column] for row in kept] for column in range(4)))

    def line(self, table: Table, key: str, axis: Axis, window: int = 1) -> list[list[float]]:
        """[x, y] of the points with a value, each the mean of the last `window` of them, at most `POINTS`."""
        x, y = self._place(table.steps, axis), table.column(key)
        known = np.isfinite(x) & np.isfinite(y)
        x, y = x[known], trailing_mean(y[known], window)
        chosen = thin(y, POINTS)
        return [[_short(a), _short(b)] for a, b in zip(x[chosen].tolist(), y[chosen].tolist(), strict=True)]

    def _place(self, steps: np.ndarray, axis: Axis) -> np.ndarray:
        """Where steps lie on the axis: the steps themselves, hours of training up to their end, or samples."""
        if axis == "step":
            return steps
        if axis == "time":
            table, amounts = self.timings, self.timings.column("step_seconds") / 3600
        else:
            table, amounts = self.metrics, self.metrics.column("samples")
        known = np.isfinite(amounts)
        if not known.any():
            return np.full(len(steps), np.nan)
        ends, order = table.steps[known], np.argsort(table.steps[known], kind="stable")
        passed = np.cumsum(amounts[known][order])
        return np.interp(steps, np.concatenate([[0.0], ends[order]]), np.concatenate([[0.0], passed]), right=np.nan)


def _ends(evaluation: Evaluated) -> tuple[float, float]:
    """Of the 95% interval."""
    ci = evaluation.summary.get("ci")
    if isinstance(ci, list) and len(ci) == 2 and all(isinstance(end, int | float) for end in ci):
        return ci[0], ci[1]
    return evaluation.value or 0.0, evaluation.value or 0.0


def trailing_mean(values: np.ndarray, window: int) -> np.ndarray:
    """Of each value [n] and up to `window` − 1 before it; the first ones are means of fewer."""
    if window <= 1 or len(values) == 0:
        return values
    sums = np.concatenate([[0.0], np.cumsum(values)])
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(0, ends - window)
    return (sums[ends] - sums[starts]) / (ends - starts)


def thin(values: np.ndarray, most: int) -> np.ndarray:
    """Indices [≤ most] of `values` [n] that keep its shape: of equal portions the lowest and the highest each.

    So a spike of a single step is still seen.
    """
    if len(values) <= most:
        return np.arange(len(values))
    edges = np.linspace(0, len(values), most // 2 + 1).astype(int)
    chosen: set[int] = set()
    for start, end in pairwise(edges.tolist()):
        part = values[start:end]
        chosen |= {start + int(part.argmin()), start + int(part.argmax())}
    return np.array(sorted(chosen))


def _with_speed(metrics: Table, timings: Table) -> Table:
    """`timings` with `audio_speed`: seconds of audio heard a second."""
    seconds = timings.columns.get("step_seconds")
    heard = metrics.columns.get("audio_seconds")
    if seconds is None or heard is None or not np.any(heard > 0):
        return timings
    of_step = dict(zip(metrics.steps.tolist(), heard.tolist(), strict=True))
    audio = np.array([of_step.get(step, np.nan) for step in timings.steps.tolist()])
    speed = np.divide(audio, seconds, out=np.full(len(seconds), np.nan), where=seconds > 0)
    return Table(timings.steps, {**timings.columns, "audio_speed": speed}, timings.damage)


def _short(value: float) -> float:
    """Six digits are more than a screen shows, and a third of the bytes."""
    return float(f"{value:.6g}")
