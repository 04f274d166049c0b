"""Which figures of a run are drawn, and how: the options of each chart for ECharts, of one run or of several."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

from antiphon.dashboard.read.curves import LEAST, POINTS, Axis, Curves, Measured
from antiphon.dashboard.read.tables import Table

PALETTE = ("#2a8c83", "#d9822b", "#5b7fd1", "#c2527f", "#8a9a2b", "#8e64c0", "#3aa0c9", "#b5574a", "#6e7b85", "#c9a227")
"""Of the runs, in order; legible on light and on dark."""
AXES: dict[Axis, str] = {"step": "Step", "time": "Hours", "samples": "Samples"}
GHOSTS = 3
"""With more runs than this, smoothed curves are not shadowed by the raw ones."""

_DASHES = ("solid", "dashed", "dotted", [8, 3, 2, 3])
_MUTED = "#8b9096"
_NUMBER = "(v) => v === 0 || Math.abs(v) >= 1e-3 ? String(Number(v.toPrecision(4))) : v.toExponential(1)"
_PERCENT = "(v) => Number((100 * v).toPrecision(3)) + '%'"
_TOOLTIP = """(all) => {
  const safe = (text) => String(text).replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);
  const write = PERCENT ? (v) => (100 * v).toFixed(1) + "%" : NUMBER;
  const rows = all.map((p) => {
    const [, y, low, high] = p.value;
    const range = low === undefined || low === high ? "" : ` <small>${write(low)} – ${write(high)}</small>`;
    return `<tr><td>${p.marker}${safe(p.seriesName)}</td><td><b>${write(y)}</b>${range}</td></tr>`;
  });
  return `<div class="quiet">AXIS ${Number(all[0].value[0].toPrecision(5))}</div><table>${rows.join("")}</table>`;
}"""


@dataclass(frozen=True)
class Line:
    key: str
    name: str


@dataclass(frozen=True)
class Chart:
    """Figures that are drawn together: lines of one file, or an evaluation set with its interval."""

    title: str
    lines: tuple[Line, ...] = ()
    file: Literal["metrics", "timings", "gate"] = "metrics"
    set: tuple[str, str] | None = None
    """Of an evaluation set, its name and its measure."""
    rate: bool = False
    """Whether values are fractions, to be written as percentages."""
    log: bool = False
    about: str = ""


def _one(title: str, key: str, about: str = "", **how: Any) -> Chart:
    return Chart(title, (Line(key, title),), about=about, **how)


_REWARD = (
    Chart("Reward", (Line("reward_mean", "mean"), Line("reward_best_mean", "best of a group")), about="of a step"),
)
_SPREAD = (
    Chart(
        "Spread of the reward",
        (Line("reward_std", "all completions"), Line("reward_group_std", "within a group")),
        about="standard deviation",
    ),
    _one("Groups without spread", "zero_variance_share", "all completions earned the same", rate=True),
    _one("Dropped samples", "reward_dropped", "their reward failed"),
)
_UPDATE = (
    _one("Loss", "loss"),
    Chart(
        "KL", (Line("kl_old", "to the sampling weights"), Line("kl_reference", "to the initial model")), about="nats"
    ),
    Chart(
        "Clip share",
        (Line("clip_high_share", "above"), Line("clip_low_share", "below")),
        rate=True,
        about="tokens whose gradient the clip stopped",
    ),
    Chart("Entropy", (Line("entropy", "entropy"), Line("surprisal", "surprisal")), about="nats a token"),
    _one("Gradient norm", "grad_norm", "before clipping"),
    _one("Learning rate", "lr"),
    _one("Divergence from the teacher", "divergence"),
)
_ANSWERS = (
    _one("Length", "tokens_mean", "tokens an answer"),
    Chart("Cut off and empty", (Line("truncated_share", "cut off"), Line("empty_share", "empty")), rate=True),
)
_GATE = (
    _one("Engine against trainer", "engine_difference_max", "largest difference of log-probabilities", log=True),
    Chart(
        "Parity gate",
        (Line("difference_max", "largest difference"), Line("difference_mean", "mean difference")),
        file="gate",
        log=True,
        about="nats a token",
    ),
    Chart("Change without the clip", (Line("ablation_change", "change"),), file="gate", about="nats a token"),
)
_SPEED = (
    Chart("Throughput", (Line("audio_speed", "audio"),), file="timings", about="seconds of audio a second"),
    Chart(
        "Seconds a step",
        (Line("step_seconds", "step"), Line("rollout", "rollout"), Line("train", "train"), Line("teacher", "teacher")),
        file="timings",
    ),
    Chart("Memory", (Line("memory_gb", "memory"),), file="timings", about="GB"),
)


def sections(runs: Sequence[Curves]) -> dict[str, list[Chart]]:
    """The charts for which any of the runs has figures, by heading; under the last what no chart above shows."""
    parts = sorted({key for curves in runs for key in curves.reward_parts})
    sets = sorted({measured for curves in runs for measured in curves.measures})
    named = {
        "Evaluation and reward": [
            *(_of_set(name, measure) for name, measure in sets),
            *_REWARD,
            *(_one(f"Reward part: {key[7:]}", key) for key in parts),
            *_SPREAD,
        ],
        "Update": list(_UPDATE),
        "Answers, and parity of engine and trainer": [*_ANSWERS, *_GATE],
        "Speed and memory": list(_SPEED),
    }
    shown = {
        line.key for charts in named.values() for chart in charts if chart.file == "metrics" for line in chart.lines
    }
    others = sorted({key for curves in runs for key in curves.metrics.columns} - shown)
    named["Further metrics"] = [_one(key, key) for key in others]
    drawn = {
        head: [found for chart in charts if (found := _with_figures(chart, runs))] for head, charts in named.items()
    }
    return {head: charts for head, charts in drawn.items() if charts}


def options(chart: Chart, runs: Sequence[tuple[str, Curves]], axis: Axis, window: int) -> dict[str, Any]:
    """The ECharts options of `chart` for runs with their names, smoothed over `window` steps."""
    series: list[dict[str, Any]] = []
    most = max(LEAST, POINTS // len(runs))
    for number, (name, curves) in enumerate(runs):
        colour = PALETTE[number % len(PALETTE)]
        if chart.set is not None:
            series += _measured(name, colour, curves.measured(*chart.set, axis), curves.alarms(axis))
        else:
            draw = partial(curves.line, _table(chart, curves), axis=axis, most=most)
            series += _lines(
                chart, name if len(runs) > 1 else "", colour, _table(chart, curves), draw, window, len(runs)
            )
    tooltip = _TOOLTIP.replace("PERCENT", "true" if chart.rate else "false")
    tooltip = tooltip.replace("NUMBER", _NUMBER).replace("AXIS", AXES[axis])
    end = max((curves.end(axis) for _, curves in runs), default=0.0)
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
            "axisLabel": label,
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


def _with_figures(chart: Chart, runs: Sequence[Curves]) -> Chart | None:
    """`chart` with the lines that any run has; None without one. What counts mishaps is left out until there is one."""
    if chart.set is not None:
        return chart
    columns = {line: [_table(chart, curves).columns.get(line.key) for curves in runs] for line in chart.lines}
    if chart.title == "Dropped samples":
        return chart if any(one is not None and (one > 0).any() for one in columns[chart.lines[0]]) else None
    there = tuple(line for line, found in columns.items() if any(one is not None for one in found))
    return replace(chart, lines=there) if there else None


def _table(chart: Chart, curves: Curves) -> Table:
    return {"metrics": curves.metrics, "timings": curves.timings, "gate": curves.gate}[chart.file]


def _of_set(name: str, measure: str) -> Chart:
    title = f"{'WER' if measure == 'wer' else measure.capitalize()} on {name}"
    return Chart(title, set=(name, measure), rate=measure != "score", about="95% interval")


def _lines(
    chart: Chart, run: str, colour: str, table: Table, draw: Callable[..., list], window: int, runs: int
) -> Iterator[dict[str, Any]]:
    """A line for each key that the run has; with smoothing, the raw one faintly behind the first of few runs."""
    for number, line in enumerate(chart.lines):
        if line.key not in table.columns:
            continue
        points = draw(line.key, window=window)
        points = [point for point in points if point[1] > 0] if chart.log else points
        name = " · ".join(filter(None, (run, line.name if len(chart.lines) > 1 or not run else "")))
        if window > 1 and number == 0 and runs <= GHOSTS and not chart.log:
            yield _series(name, colour, draw(line.key), {"width": 1, "opacity": 0.25}) | _SILENT
        yield _series(name, colour, points, {"width": 1.6, "type": _DASHES[number % len(_DASHES)]})


def _measured(name: str, colour: str, found: Measured, alarms: list[float]) -> Iterator[dict[str, Any]]:
    """The interval as a band, which is a stack of nothing up to its lower end and of its width; the rate above it.

    A single evaluation has no band, but a bar. Where the guard raised an alarm there is a dotted line.
    """
    stack = {"stack": name, "stackStrategy": "all"}
    wide = [[x, high - low] for x, low, high in zip(found.x, found.low, found.high, strict=True)]
    below = [list(point) for point in zip(found.x, found.low, strict=True)]
    yield _series(name, colour, below, {"width": 0}) | stack | _SILENT
    yield (
        _series(name, colour, wide, {"width": 0}) | stack | _SILENT | {"areaStyle": {"color": colour, "opacity": 0.16}}
    )
    points = [list(point) for point in zip(found.x, found.y, found.low, found.high, strict=True)]
    bars = [[{"coord": [x, low]}, {"coord": [x, high]}] for x, _, low, high in points] if len(points) == 1 else []
    label = {"formatter": "guard", "position": "insideEndTop", "fontSize": 10, "color": _MUTED}
    dotted = [{"xAxis": x, "lineStyle": {"type": "dotted"}, "label": label} for x in alarms]
    style = {"symbol": "none", "silent": True, "animation": False}
    mark = {"data": [*bars, *dotted], "lineStyle": {"type": "solid", "width": 1.5, "opacity": 0.6}, **style}
    yield _series(name, colour, points, {"width": 1.6}) | {"showSymbol": True, "markLine": mark}


_SILENT = {"silent": True, "tooltip": {"show": False}, "showSymbol": False}


def _series(name: str, colour: str, points: list[list[float]], style: dict[str, Any]) -> dict[str, Any]:
    """The points are text that the browser reads: NiceGUI would watch each of them for changes."""
    return {
        "type": "line",
        "name": name,
        ":data": json.dumps(points, separators=(",", ":")),
        "color": colour,
        "symbol": "circle",
        "symbolSize": 5,
        "showSymbol": len(points) < 3,
        "lineStyle": {"color": colour, **style},
        "emphasis": {"disabled": True},
    }
