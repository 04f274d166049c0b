"""Builds ECharts options: curves of one or several runs, smoothed, over steps, hours or samples."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from antiphon.dashboard.charts import Chart
from antiphon.dashboard.read.curves import LEAST, POINTS, Axis, Curves

PALETTE = ("#2a8c83", "#d9822b", "#5b7fd1", "#c2527f", "#8a9a2b", "#8e64c0", "#3aa0c9", "#b5574a", "#6e7b85", "#c9a227")
"""Colors of the runs, in order; legible on light and dark backgrounds."""
AXES: dict[Axis, str] = {"step": "Step", "time": "Hours", "samples": "Samples"}
GHOSTS = 3
"""With more runs than this, raw curves are not drawn behind the smoothed ones."""

_DASHES = ("solid", "dashed", "dotted", [8, 3, 2, 3])
_MUTED = "#8b9096"
_NUMBER = "(v) => v === 0 || Math.abs(v) >= 1e-3 ? String(Number(v.toPrecision(4))) : v.toExponential(1)"
_PERCENT = "(v) => Number((100 * v).toPrecision(3)) + '%'"
_TOOLTIP = """(all) => {
  const safe = (text) => String(text).replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);
  const write = PERCENT ? (v) => (100 * v).toFixed(1) + "%" : NUMBER;
  const rows = all.map((p) => {
    const [, y, low, high] = p.value;
    const range = low === undefined || low === high ? "" : ` <small>${write(low)} to ${write(high)}</small>`;
    return `<tr><td>${p.marker}${safe(p.seriesName)}</td><td><b>${write(y)}</b>${range}</td></tr>`;
  });
  return `<div class="quiet">AXIS ${Number(all[0].value[0].toPrecision(5))}</div><table>${rows.join("")}</table>`;
}"""


@dataclass(frozen=True)
class View:
    """Display settings of curves."""

    axis: Axis
    window: int
    """Window of the moving mean, in steps."""
    runs: int
    """Number of runs in the chart."""

    @property
    def points(self) -> int:
        """Maximum points of a line."""
        return max(LEAST, POINTS // self.runs)

    @property
    def shaded(self) -> float:
        """Opacity of an interval's band, low enough for ten to overlap."""
        return 0.3 / (1 + self.runs)


def options(chart: Chart, runs: Sequence[tuple[str, Curves]], axis: Axis, window: int) -> dict[str, Any]:
    """The ECharts options of `chart` for runs by name, smoothed over `window` steps."""
    view = View(axis, window, len(runs))
    draw = _lines if chart.set is None else _measured
    series = [
        one
        for (name, curves), color in zip(runs, PALETTE, strict=False)
        for one in draw(chart, name, color, curves, view)
    ]
    tooltip = _TOOLTIP.replace("PERCENT", "true" if chart.rate else "false")
    tooltip = tooltip.replace("NUMBER", _NUMBER).replace("AXIS", AXES[axis])
    end = max(curves.end(axis) for _, curves in runs)
    label = {"color": _MUTED, "fontSize": 11, "hideOverlap": True}
    rule = {"lineStyle": {"color": "#8883"}}
    return {
        "animation": False,
        "grid": {"left": 4, "right": 14, "top": 10, "bottom": 2, "containLabel": True},
        "tooltip": {
            "trigger": "axis",
            "confine": True,
            "className": "tip",
            "axisPointer": {"lineStyle": {"color": _MUTED}},
            ":formatter": tooltip,
        },
        "xAxis": {
            "type": "value",
            "min": 0,
            "max": end or "dataMax",
            "axisLabel": {**label, "alignMaxLabel": "right"},
            "axisLine": {"onZero": False, **rule},
            "axisTick": {"show": False},
            "splitLine": {"show": False},
        },
        "yAxis": {
            "type": "log" if chart.log else "value",
            "scale": True,
            "axisLabel": {**label, ":formatter": _PERCENT if chart.rate else _NUMBER},
            "splitLine": rule,
        },
        "series": series,
    }


def _lines(chart: Chart, run: str, color: str, curves: Curves, view: View) -> Iterator[dict[str, Any]]:
    """A line for each key that the run has; with smoothing and few runs, the first raw line is drawn faintly behind."""
    table = chart.table(curves)
    for number, line in enumerate(chart.lines):
        if line.key not in table.columns:
            continue
        points = curves.line(table, line.key, view.axis, view.window, view.points)
        points = [point for point in points if point[1] > 0] if chart.log else points
        names = [run] if view.runs > 1 else []
        name = " · ".join([*names, line.name] if len(chart.lines) > 1 or not names else names)
        if view.window > 1 and number == 0 and view.runs <= GHOSTS and not chart.log:
            raw = curves.line(table, line.key, view.axis, 1, view.points)
            yield _series(name, color, raw, {"width": 1, "opacity": 0.25}) | _SILENT
        yield _series(name, color, points, {"width": 1.6, "type": _DASHES[number % len(_DASHES)]})


def _measured(chart: Chart, run: str, color: str, curves: Curves, view: View) -> Iterator[dict[str, Any]]:
    """The rate, and its interval as a band, made of an invisible area up to the lower end and one of its width on top.

    A single evaluation gets an error bar. Dotted lines mark alarms of the guard.
    """
    assert chart.set is not None
    found = curves.measured(*chart.set, view.axis)
    stack = {"stack": run, "stackStrategy": "all"} | _SILENT
    below = [list(point) for point in zip(found.x, found.low, strict=True)]
    wide = [[x, high - low] for x, low, high in zip(found.x, found.low, found.high, strict=True)]
    band = {"areaStyle": {"color": color, "opacity": view.shaded}}
    yield _series(run, color, below, {"width": 0}) | stack
    yield _series(run, color, wide, {"width": 0}) | stack | band
    points = [list(point) for point in zip(found.x, found.y, found.low, found.high, strict=True)]
    bars = [[{"coord": [x, low]}, {"coord": [x, high]}] for x, _, low, high in points] if len(points) == 1 else []
    label = {"formatter": "guard", "position": "insideEndTop", "fontSize": 10, "color": _MUTED}
    alarms = [{"xAxis": x, "lineStyle": {"type": "dotted"}, "label": label} for x in curves.alarms(view.axis)]
    style = {"symbol": "none", "silent": True, "animation": False}
    mark = {"data": [*bars, *alarms], "lineStyle": {"type": "solid", "width": 1.5, "opacity": 0.6}, **style}
    yield _series(run, color, points, {"width": 1.6}) | {"showSymbol": True, "markLine": mark}


_SILENT = {"silent": True, "tooltip": {"show": False}, "showSymbol": False}


def _series(name: str, color: str, points: list[list[float]], style: dict[str, Any]) -> dict[str, Any]:
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
