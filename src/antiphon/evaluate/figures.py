"""The plots of an evaluation's report, as SVG that stands in a page."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from antiphon.evaluate.metrics import main_measure

BINS = 8
"""Of clips by length, with equally many in each."""


def rate_plot(summaries: Mapping[str, Mapping[str, Any]]) -> str:
    """The main measure of each set with its 95% interval; empty where no set has one."""
    shown = {name: one for name, one in summaries.items() if one[main_measure(one)] is not None}
    if not shown:
        return ""
    rates = [100 * one[main_measure(one)] for one in shown.values()]
    ends = [one["ci"] or [one[main_measure(one)]] * 2 for one in shown.values()]
    arms = np.array([[rate - 100 * low, 100 * high - rate] for rate, (low, high) in zip(rates, ends, strict=True)])
    figure, axes = _figure()
    places = range(len(shown))
    axes.errorbar(rates, places, xerr=np.maximum(arms.reshape(-1, 2).T, 0), fmt="o", capsize=4)
    axes.set_yticks(list(places), list(shown))
    axes.set_ylim(len(shown) - 0.5, -0.5)
    measures = sorted({main_measure(one).replace("wer", "WER") for one in shown.values()})
    axes.set(xlabel=f"{' or '.join(measures)} (%), 95% interval", xlim=(0, None))
    axes.grid(axis="x", alpha=0.3)
    return _svg(figure)


def length_plot(rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Errors by reference words against the length of the clip, each point as many clips as the others of its set."""
    figure, axes = _figure()
    for name, table in rows.items():
        ordered = sorted(table, key=lambda row: row["seconds"])
        bins = [part for part in np.array_split(np.arange(len(ordered)), BINS) if len(part)]
        points = []
        for part in bins:
            chosen = [ordered[index] for index in part]
            words = sum(row["ref_words"] for row in chosen)
            if words:
                errors = sum(row["wer_errors"] for row in chosen)
                points.append((np.mean([row["seconds"] for row in chosen]), 100 * errors / words))
        if points:
            axes.plot(*zip(*points, strict=True), marker="o", label=name)
    axes.set(xlabel="seconds of audio", ylabel="errors by reference words (%)", ylim=(0, None))
    axes.grid(alpha=0.3)
    if axes.lines:
        axes.legend(frameon=False)
    return _svg(figure)


def _figure() -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2, 3.2), layout="constrained")
    return figure, figure.subplots()


def _svg(figure: Any) -> str:
    """Text stays text, and the same figure is the same SVG."""
    import matplotlib

    drawn = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "antiphon", "font.family": "sans-serif"}):
        figure.savefig(drawn, format="svg", metadata={"Date": None})
    text = drawn.getvalue()
    return text[text.index("<svg") :]
