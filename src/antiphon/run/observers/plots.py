"""A run's figures as a picture, drawn from its folder alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from antiphon.errors import describe
from antiphon.run.observers.observer import Observer
from antiphon.runs.folder import RunFolder
from antiphon.runs.status import State
from antiphon.tasks.columns import Column
from antiphon.tasks.summary import interval, main_column

SMOOTHING = 10
"""Steps in the running mean of what is learned."""


class Plots(Observer):
    """Draws the run once it ends of its own accord."""

    def started(self, run: RunFolder, done: int) -> None:
        self.run = run

    def finished(self, state: State, step: int, reason: str | None = None) -> None:
        if state not in ("finished", "stopped"):
            return
        try:
            plot_run(self.run)
        except Exception as error:  # A picture is no reason to fail a run that has ended.
            self.run.log(f"plots/training.png could not be drawn: {describe(error)}")


def running_mean(values: np.ndarray, window: int) -> np.ndarray:
    """[n − window + 1] mean of each `window` values in a row, without those that are not finite; NaN where all are."""
    finite = np.isfinite(values)
    sums, counts = (np.convolve(one, np.ones(window), "valid") for one in (np.where(finite, values, 0.0), finite))
    return np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)


def _ends(summary: dict[str, Any], column: Column) -> Sequence[float]:
    """The interval of a set's figure; the figure itself where there is none."""
    ends = interval(summary, column)
    known = ends is not None and all(one is not None and math.isfinite(one) for one in ends)
    return ends if ends is not None and known else [summary[column.key]] * 2


def plot_run(run: RunFolder) -> Path | None:
    """Draw reward and the main measure by set into `plots/training.png`; None when the run has no steps yet.

    Where nothing is rewarded, the loss stands in place of the reward. A figure that is null, as one that was not finite
    is written, leaves a gap.
    """
    from matplotlib.figure import Figure

    metrics = run.metrics()
    if not metrics:
        return None
    key, name = ("reward_mean", "reward") if any("reward_mean" in row for row in metrics) else ("loss", "loss")
    steps = [row["step"] for row in metrics]
    values = np.array([row.get(key) for row in metrics], dtype=float)
    window = min(SMOOTHING, len(values))
    smooth = running_mean(values, window)

    figure = Figure(figsize=(10, 4), layout="constrained")
    step_axes, eval_axes = figure.subplots(1, 2)
    step_axes.plot(steps, values, color="tab:blue", alpha=0.3, label="mean of a step")
    step_axes.plot(steps[window - 1 :], smooth, color="tab:blue", label=f"mean of {window} steps")
    step_axes.set(xlabel="step", ylabel=name, title=f"{name} ({run.config.algorithm_name})")
    step_axes.legend(loc="best")

    by_set: dict[str, list[dict]] = {}
    evaluations = run.evals()
    column = main_column(*evaluations)
    for summary in evaluations:
        if isinstance(summary.get(column.key), int | float) and math.isfinite(summary[column.key]):
            by_set.setdefault(summary["set"], []).append(summary)
    for name, summaries in by_set.items():
        rates = [column.scale * one[column.key] for one in summaries]
        ends = [_ends(one, column) for one in summaries]
        arms = [[r - column.scale * low, column.scale * high - r] for r, (low, high) in zip(rates, ends, strict=True)]
        errors = np.array(arms)
        at = [one["step"] for one in summaries]
        eval_axes.errorbar(at, rates, yerr=np.maximum(errors.T, 0), marker="o", capsize=4, label=name)
    alarms = [line["step"] for line in run.guard() if line["worse"]]
    for number, step in enumerate(alarms):
        eval_axes.axvline(step, color="tab:red", linestyle=":", label=None if number else "a group is worse (guard)")
    if by_set:
        eval_axes.legend()
    eval_axes.set(xlabel="step", ylabel=f"{column.axis}, 95% interval", title="evaluation sets")
    if column.is_percent:
        eval_axes.set(ylim=(0, None))
    for axes in (step_axes, eval_axes):
        axes.grid(alpha=0.3)
    path = run.plots / "training.png"
    figure.savefig(path, dpi=120)
    return path
