"""The figures of a chart as CSV: all of them, neither smoothed nor thinned, a line for each."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from antiphon.dashboard.charts import Chart
from antiphon.dashboard.read.curves import Curves

HEAD = ("run", "metric", "step", "seconds", "samples", "value", "low", "high")
"""`seconds` of training and `samples` are those before the step's end; `low` and `high` are the 95% interval."""


def to_csv(chart: Chart, runs: Sequence[tuple[str, Curves]]) -> str:
    """The values of `chart` for runs by name, in the order of steps; empty where a run has no figure."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEAD)
    for name, curves in runs:
        writer.writerows([name, *row] for row in _rows(chart, curves))
    return text.getvalue()


def _rows(chart: Chart, curves: Curves) -> Iterator[list[Any]]:
    if chart.set is not None:
        found = {axis: curves.measured(*chart.set, axis) for axis in ("step", "time", "samples")}
        steps = found["step"]
        for place, step in enumerate(steps.x):
            there = [found[axis].x[place] if curves.has(axis) else "" for axis in ("time", "samples")]
            ends = (values[place] for values in (steps.y, steps.low, steps.high))
            yield [chart.set[1], int(step), *map(_written, there), *map(_written, ends)]
        return
    table = chart.table(curves)
    seconds, samples = (curves.place(table.steps, axis) for axis in ("time", "samples"))
    for line in chart.lines:
        for row in zip(table.steps, seconds, samples, table.column(line.key), strict=True):
            if not np.isnan(row[3]):
                yield [line.key, int(row[0]), *map(_written, row[1:]), "", ""]


def _written(value: Any) -> Any:
    """A number in the digits that give it back, or an empty cell."""
    return repr(float(value)) if isinstance(value, int | float) and np.isfinite(value) else ""
