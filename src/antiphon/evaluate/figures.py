"""The plots of an evaluation's report, as SVG that stands in a page."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from antiphon.tasks.summary import interval, main_column
from antiphon.tasks.task import row_errors, row_units

COLORS = ("#1f8a8f", "#d9822b", "#7a6fc4", "#c2506a", "#5b9a3c", "#3d7fc1", "#a98a2a", "#8a6d5c")
GRAY = "#87939699"
"""Colors that are seen on white and on black: the page's ground is either, and texts take its ink."""
BINS = 8
"""Of clips by length, with equally many in each."""


def rate_plot(summaries: Mapping[str, Mapping[str, Any]]) -> str:
    """The main measure of each set with its 95% interval; empty where no set has one."""
    column = main_column(*summaries.values())
    shown = {name: one for name, one in summaries.items() if one.get(column.key) is not None}
    if not shown:
        return ""
    scale = column.scale
    rates = [scale * one[column.key] for one in shown.values()]
    ends = [interval(one, column) or [one[column.key]] * 2 for one in shown.values()]
    arms = np.array([[rate - scale * low, scale * high - rate] for rate, (low, high) in zip(rates, ends, strict=True)])
    figure, axes = _figure(height=max(1.0 + 0.4 * len(shown), 3.0))
    places = range(len(shown))
    arms = np.maximum(arms.reshape(-1, 2).T, 0)
    axes.errorbar(rates, places, xerr=arms, fmt="o", color=COLORS[0], capsize=4, lw=1.6, clip_on=False)
    axes.set_yticks(list(places), list(shown))
    axes.set_ylim(len(shown) - 0.5, -0.5)
    axes.set(xlabel=column.axis)
    if column.is_percent:
        axes.set(xlim=(0, None))
    axes.grid(axis="y", visible=False)
    return _svg(figure)


def length_plot(rows: Mapping[str, Sequence[Mapping[str, Any]]], percent: bool = True) -> str:
    """Errors by reference words against the length of the clip, each point as many clips as the others of its set."""
    figure, axes = _figure()
    scale = 100 if percent else 1
    for name, table in rows.items():
        ordered = sorted(table, key=lambda row: row["seconds"])
        bins = [part for part in np.array_split(np.arange(len(ordered)), BINS) if len(part)]
        points = []
        for part in bins:
            chosen = [ordered[index] for index in part]
            units = sum(map(row_units, chosen))
            if units:
                errors = sum(map(row_errors, chosen))
                points.append((np.mean([row["seconds"] for row in chosen]), scale * errors / units))
        if points:
            color = COLORS[len(axes.lines) % len(COLORS)]
            axes.plot(*zip(*points, strict=True), marker="o", ms=4.5, lw=1.6, color=color, label=name, clip_on=False)
    axes.set(xlabel="seconds of audio", ylabel="errors by reference words (%)" if percent else "errors", ylim=(0, None))
    if len(axes.lines) > 1:
        axes.legend(frameon=False)
    return _svg(figure)


def _figure(height: float = 3.0) -> tuple[Any, Any]:
    """A figure of 5.2 × `height` inches without a ground of its own."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2, height), layout="constrained")
    figure.patch.set_alpha(0)
    axes = figure.subplots()
    axes.patch.set_alpha(0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(GRAY)
    axes.tick_params(color=GRAY, length=3)
    axes.tick_params(axis="y", length=0)
    axes.grid(color=GRAY, alpha=0.25, lw=0.8)
    return figure, axes


def _svg(figure: Any) -> str:
    """Text stays text, and the same figure is the same SVG."""
    import matplotlib

    drawn = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "antiphon", "font.family": "sans-serif"}):
        figure.savefig(drawn, format="svg", metadata={"Date": None})
    text = drawn.getvalue()
    return text[text.index("<svg") :]
