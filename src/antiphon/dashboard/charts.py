"""Defines the charts: which metrics they show, and under which heading."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from antiphon.dashboard.read.curves import Curves
from antiphon.dashboard.read.tables import Table
from antiphon.tasks.columns import Column


@dataclass(frozen=True)
class Line:
    key: str
    name: str


@dataclass(frozen=True)
class Chart:
    """A chart: lines of one file, or an evaluation set with its interval."""

    title: str
    lines: tuple[Line, ...] = ()
    file: Literal["metrics", "timings", "gate"] = "metrics"
    set: tuple[str, str] | None = None
    """Name and metric of an evaluation set."""
    rate: bool = False
    """Whether values are fractions, shown as percentages."""
    log: bool = False
    about: str = ""

    def table(self, curves: Curves) -> Table:
        return {"metrics": curves.metrics, "timings": curves.timings, "gate": curves.gate}[self.file]


def _one(title: str, key: str, about: str = "", **how: Any) -> Chart:
    return Chart(title, (Line(key, title),), about=about, **how)


_REWARD = (
    Chart("Reward", (Line("reward_mean", "mean"), Line("reward_best_mean", "best of each group")), about="per step"),
)
_VARIANCE = (
    Chart(
        "Reward standard deviation",
        (Line("reward_std", "all completions"), Line("reward_group_std", "within a group")),
    ),
    _one("Zero-variance groups", "zero_variance_share", "all rewards of the group are equal", rate=True),
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
        about="tokens without gradient, as their ratio is clipped",
    ),
    Chart("Entropy", (Line("entropy", "entropy"), Line("surprisal", "surprisal")), about="nats per token"),
    _one("Gradient norm", "grad_norm", "before clipping"),
    _one("Learning rate", "lr"),
    _one("Divergence from the teacher", "divergence"),
)
_ANSWERS = (
    _one("Length", "tokens_mean", "tokens per completion"),
    Chart("Truncated and empty", (Line("truncated_share", "truncated"), Line("empty_share", "empty")), rate=True),
)
_GATE = (
    _one("Engine against trainer", "engine_difference_max", "maximum difference of log-probabilities", log=True),
    Chart(
        "Parity gate",
        (Line("difference_max", "maximum difference"), Line("difference_mean", "mean difference")),
        file="gate",
        log=True,
        about="nats a token",
    ),
    Chart("Change without the clip", (Line("ablation_change", "change"),), file="gate", about="nats a token"),
)
_SPEED = (
    Chart("Throughput", (Line("audio_speed", "audio"),), file="timings", about="seconds of audio per second"),
    Chart(
        "Seconds per step",
        (Line("step_seconds", "step"), Line("rollout", "rollout"), Line("train", "train"), Line("teacher", "teacher")),
        file="timings",
    ),
    Chart("Memory", (Line("memory_gb", "memory"),), file="timings", about="GB"),
)


def sections(runs: Sequence[Curves]) -> dict[str, list[Chart]]:
    """The charts with data in any of the runs, by heading; the last one has all other metrics."""
    parts = sorted({key for curves in runs for key in curves.reward_parts})
    sets = {of_set: column for curves in runs for of_set, column in curves.measures.items()}
    named = {
        "Evaluation and reward": [
            *(_of_set(*one, sets[one]) for one in sorted(sets)),
            *_REWARD,
            *(_one(f"Reward part: {key[7:]}", key) for key in parts),
            *_VARIANCE,
        ],
        "Update": list(_UPDATE),
        "Completions and parity of engine and trainer": [*_ANSWERS, *_GATE],
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


def _with_figures(chart: Chart, runs: Sequence[Curves]) -> Chart | None:
    """`chart` with the lines that any run has, or None. Charts of failures are left out until one occurs."""
    if chart.set is not None:
        return chart
    columns = {line: [chart.table(curves).columns.get(line.key) for curves in runs] for line in chart.lines}
    if chart.title == "Dropped samples":
        return chart if any(one is not None and (one > 0).any() for one in columns[chart.lines[0]]) else None
    there = tuple(line for line, found in columns.items() if any(one is not None for one in found))
    return replace(chart, lines=there) if there else None


def _of_set(name: str, measure: str, column: Column) -> Chart:
    return Chart(f"{column.label} on {name}", set=(name, measure), rate=column.is_percent, about="95% interval")
