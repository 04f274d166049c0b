"""A run's figures as a picture, drawn from its folder alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from antiphon.run.observers.observer import Observer
from antiphon.runs.folder import RunFolder
from antiphon.runs.status import State
from antiphon.tasks.summary import interval, main_column

SMOOTHING = 10
"""Steps in the running mean of what is learned."""


class Plots(Observer):
    """Draws the run once it ends of its own accord."""

    def started(self, run: RunFolder, done: int) -> None:
        self.run = run

    def finished(self, state: State, step: int, reason: str | None = None) -> None:
        if state in ("finished", "stopped"):
            plot_run(self.run)


def plot_run(run: RunFolder) -> Path | None:
    """Draw reward and the main measure by set into `plots/training.png`; None when the run has no steps yet.

    Where nothing is rewarded, the loss stands in place of the reward.
    """
    from matplotlib.figure import Figure

    metrics = run.metrics()
    if not metrics:
        return None
    key, name = ("reward_mean", "reward") if "reward_mean" in metrics[0] else ("loss", "loss")
    steps = [row["step"] for row in metrics]
    values = np.array([row[key] for row in metrics])
    window = min(SMOOTHING, len(values))
    smooth = np.convolve(values, np.ones(window) / window, mode="valid")

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
        if summary.get(column.key) is not None:
            by_set.setdefault(summary["set"], []).append(summary)
    for name, summaries in by_set.items():
        rates = [column.scale * one[column.key] for one in summaries]
        ends = [interval(one, column) or [one[column.key]] * 2 for one in summaries]
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
