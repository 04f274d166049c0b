"""Builds ECharts options: curves of one or several runs, smoothed, over steps, time or samples.

The functions that the options name are those of `charts.js`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from antiphon.dashboard.charts import Chart
from antiphon.dashboard.read.curves import LEAST, POINTS, Axis, Curves, Point

PALETTE = ("#2a8c83", "#d9822b", "#5b7fd1", "#c2527f", "#8a9a2b", "#8e64c0", "#3aa0c9", "#b5574a", "#6e7b85", "#c9a227")
"""Colors of the runs, in order; legible on light and dark backgrounds."""
AXES: dict[Axis, str] = {"step": "Step", "time": "Time", "samples": "Samples"}
GHOSTS = 3
"""With more runs than this, raw curves are not drawn behind the smoothed ones."""

_DASHES = ("solid", "dashed", "dotted", [8, 3, 2, 3])
_MUTED = "#8b9096"
_UNITS = ((7200, 3600, "h"), (120, 60, "min"), (0, 1, "s"))
"""From how many seconds on an axis counts in a unit, the unit's seconds, and its name."""


@dataclass(frozen=True)
class View:
    """Display settings of curves."""

    axis: Axis
    window: int
    """Window of the moving mean, in steps."""
    runs: int
    """Number of runs in the chart."""
    end: float = 0.0
    """The last value of the axis, seconds if it is time."""
    log: bool = False
    """Whether the values' axis is logarithmic."""

    @property
    def unit(self) -> tuple[float, str]:
        """What one unit of the axis counts, and its name."""
        if self.axis != "time":
            return 1, ""
        return next((size, name) for least, size, name in _UNITS if self.end >= least)

    def place(self, point: Point) -> Point:
        """A point, its first value in units of the axis, and null where a logarithmic axis has no place for it."""
        x, *rest = point
        there = [None if value is None or (self.log and value <= 0) else value for value in rest]
        return [None if x is None else x / self.unit[0], *there]

    @property
    def points(self) -> int:
        """Maximum points of a line."""
        return max(LEAST, POINTS // self.runs)

    @property
    def shaded(self) -> float:
        """Opacity of an interval's band, low enough for ten to overlap."""
        return 0.3 / (1 + self.runs)


def options(
    chart: Chart, runs: Sequence[tuple[str, Curves]], axis: Axis, window: int, log: bool = False, plot: int = 0
) -> dict[str, Any]:
    """The ECharts options of `chart` for runs by name, smoothed over `window` steps; `plot` is its element's id.

    With `log`, the values' axis is logarithmic if no value is negative and one is positive.
    """
    end = max(curves.end(axis) for _, curves in runs)
    low, high = _range(chart, runs) if log else (0.0, 0.0)
    logarithmic = chart.log or (low >= 0 and high > 0)
    view = View(axis, window, len(runs), end, logarithmic)
    draw = _lines if chart.set is None else _measured
    series = [
        {**one, "id": f"{number} {place}"}
        for number, ((name, curves), color) in enumerate(zip(runs, PALETTE, strict=False))
        for place, one in enumerate(draw(chart, name, color, curves, view))
    ]
    size, unit = view.unit
    place = (
        f"(x) => curves.time(x * {size})" if axis == "time" else f"(x) => `{AXES[axis].lower()} ${{curves.count(x)}}`"
    )
    label = {"color": _MUTED, "fontSize": 11, "hideOverlap": True}
    rule = {"lineStyle": {"color": "#8883"}}
    return {
        "animation": False,
        "grid": {"left": 4, "right": 22 if unit else 14, "top": 10, "bottom": 2, "containLabel": True},
        "legend": {"show": False},
        "toolbox": _ZOOM,
        "tooltip": {
            "trigger": "axis",
            "confine": True,
            "className": "tip",
            "axisPointer": {"lineStyle": {"color": _MUTED}},
            ":formatter": f"curves.tip({plot}, {json.dumps('percent' if chart.rate else 'number')}, {place})",
        },
        "xAxis": {
            "type": "value",
            "min": 0,
            "max": end / size or "dataMax",
            "axisLabel": {
                **label,
                "alignMaxLabel": "right",
                ":formatter": f"(x) => curves.count(x) + {f' {unit}'.rstrip()!r}",
            },
            "axisLine": {"onZero": False, **rule},
            "axisTick": {"show": False},
            "splitLine": {"show": False},
        },
        "yAxis": {
            "type": "log" if logarithmic else "value",
            "logBase": 2 if logarithmic and high < 50 * low else 10,
            "scale": True,
            "axisLabel": {**label, ":formatter": "curves.percent" if chart.rate else "curves.number"},
            "splitLine": rule,
        },
        "series": series,
    }


_ZOOM = {"top": -40, "feature": {"dataZoom": {"yAxisIndex": "none", "brushStyle": {"color": "#8884"}}}}
"""ECharts' own zoom by dragging; `charts.js` turns it on, so its icons stay out of sight."""


def _range(chart: Chart, runs: Sequence[tuple[str, Curves]]) -> tuple[float, float]:
    """The lowest and highest value, or 0 and 0."""
    if chart.set is not None:
        found = [y for _, curves in runs for y in curves.measured(*chart.set, "step").y if y is not None]
        values = np.array(found, float)
    else:
        values = np.concatenate([chart.table(curves).column(line.key) for _, curves in runs for line in chart.lines])
        values = values[np.isfinite(values)]
    return (float(values.min()), float(values.max())) if len(values) else (0.0, 0.0)


def _lines(chart: Chart, run: str, color: str, curves: Curves, view: View) -> Iterator[dict[str, Any]]:
    """A line for each key that the run has; with smoothing and few runs, the first raw line is drawn faintly behind."""
    table = chart.table(curves)
    for number, line in enumerate(chart.lines):
        if line.key not in table.columns:
            continue
        points = list(map(view.place, curves.line(table, line.key, view.axis, view.window, view.points)))
        name = run if view.runs > 1 or len(chart.lines) > 1 else line.name
        if view.window > 1 and number == 0 and view.runs <= GHOSTS and not chart.log:
            raw = map(view.place, curves.line(table, line.key, view.axis, 1, view.points))
            yield _series(name, color, list(raw), {"width": 1, "opacity": 0.4}) | _SILENT
        yield _series(name, color, points, {"width": 1.6, "type": _DASHES[number % len(_DASHES)]}) | {"line": line.name}
        if alone := _alone(points):
            yield _series(name, color, alone, {}) | _SILENT | {"type": "scatter"}


def _measured(chart: Chart, run: str, color: str, curves: Curves, view: View) -> Iterator[dict[str, Any]]:
    """The rate, and its interval as a band, made of an invisible area up to the lower end and one of its width on top.

    A single evaluation gets an error bar. Dotted lines mark alarms of the guard.
    """
    assert chart.set is not None
    found = curves.measured(*chart.set, view.axis)
    stack = {"stack": run, "stackStrategy": "all"} | _SILENT
    points = [view.place(list(point)) for point in zip(found.x, found.y, found.low, found.high, strict=True)]
    below = [[x, low] for x, _, low, _ in points]
    wide = [[x, None if low is None or high is None else high - low] for x, _, low, high in points]
    band = {"areaStyle": {"color": color, "opacity": view.shaded}}
    yield _series(run, color, below, {"width": 0}) | stack
    yield _series(run, color, wide, {"width": 0}) | stack | band
    bars = [[{"coord": [x, low]}, {"coord": [x, high]}] for x, _, low, high in points] if len(points) == 1 else []
    label = {"formatter": "guard", "position": "insideEndTop", "fontSize": 10, "color": _MUTED}
    alarms = [
        {"xAxis": x / view.unit[0], "lineStyle": {"type": "dotted"}, "label": label} for x in curves.alarms(view.axis)
    ]
    style = {"symbol": "none", "silent": True, "animation": False}
    mark = {"data": [*bars, *alarms], "lineStyle": {"type": "solid", "width": 1.5, "opacity": 0.6}, **style}
    yield _series(run, color, points, {"width": 1.6}) | {"showSymbol": True, "markLine": mark, "line": run}


_SILENT = {"silent": True, "tooltip": {"show": False}, "showSymbol": False}


def _alone(points: list[Point]) -> list[Point]:
    """Points between two gaps, which no line leads to."""
    ends = [[0.0, None], *points, [0.0, None]]
    alone = [
        at for before, at, after in zip(ends, points, ends[2:], strict=False) if before[1] is None and after[1] is None
    ]
    return [point for point in alone if point[1] is not None] if len(points) > 2 else []


def _series(name: str, color: str, points: list[Point], style: dict[str, Any]) -> dict[str, Any]:
    """Pass the points as text for the browser to parse, as NiceGUI would watch each of them for changes."""
    return {
        "type": "line",
        "name": name,
        ":data": json.dumps(points, separators=(",", ":")),
        "color": color,
        "symbol": "circle",
        "symbolSize": 5,
        "showSymbol": len(points) < 3,
        "lineStyle": {"color": color, **style},
        "emphasis": {"disabled": True},
    }
