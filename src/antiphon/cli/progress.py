"""Progress of a run on the terminal, on stderr."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import TimeRemainingColumn as Remaining

from antiphon.cli.output import console
from antiphon.distributed import environment
from antiphon.evaluate.percent import percent
from antiphon.run.observers import Observer

if TYPE_CHECKING:
    from antiphon.rollout.gate import GateReport
    from antiphon.run.loop import Step
    from antiphon.runs.folder import RunFolder


def measure_name(summary: Mapping[str, Any]) -> str:
    """Display name of a set's main metric."""
    from antiphon.tasks.summary import main_column

    return main_column(summary).title


def with_interval(summary: Mapping[str, Any]) -> str:
    """The main metric with its interval: `12.3% [10.1, 14.6]`."""
    from antiphon.tasks.summary import interval, main_column

    column = main_column(summary)
    return column.show_with_interval(summary[column.key], interval(summary, column))


def _worst_group(summary: Mapping[str, Any]) -> str:
    """The worst group, as a suffix to a set's metric; empty without groups."""
    from antiphon.tasks.summary import main_column

    groups = {name: one for name, one in summary.get("groups", {}).items() if one[main_column(one).key] is not None}
    if not groups:
        return ""
    column = main_column(*groups.values())
    worst = max if column.lower_is_better else min
    name = worst(groups, key=lambda group: groups[group][column.key])
    return f"; worst of {len(groups)} groups: {name} {with_interval(groups[name])}"


class Terminal(Observer):
    """An `Observer` that shows a progress bar for the current phase and lines for results.

    It hides transformers' progress bars for loading and saving, but not those for downloads.
    """

    def __init__(self) -> None:
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            Remaining(),
            TextColumn("{task.fields[detail]}", markup=False),
        )
        shown = console.is_terminal and environment.rank() == 0
        self._progress = Progress(*columns, console=console, transient=True, disable=not shown)
        self._task: TaskID | None = None

    def __enter__(self) -> Terminal:
        from transformers.utils import logging

        self._hook = logging.set_tqdm_hook(lambda _factory, args, kwargs: logging.EmptyTqdm(*args, **kwargs))
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        from transformers.utils import logging

        self._progress.stop()
        logging.set_tqdm_hook(self._hook)

    def phase(self, title: str, total: int | None = None) -> None:
        if self._task is not None:
            self._progress.remove_task(self._task)
        self._task = self._progress.add_task(title, total=total, detail="")

    def advance(self, done: int) -> None:
        assert self._task is not None
        self._progress.update(self._task, completed=done)

    def noted(self, message: str) -> None:
        console.print(message, highlight=False)

    def gated(self, step: int, report: GateReport) -> None:
        for check in report.checks:
            sign = ">" if check.at_least else "≤"
            outcome = "passed" if check.passed else "FAILED"
            self.noted(f"step {step:>5}  gate: {check.name} {check.value:.1e} ({sign} {check.limit:g}) {outcome}")

    def evaluated(
        self, step: int, set_name: str, summary: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]
    ) -> None:
        shown = f"{measure_name(summary)} {with_interval(summary)}{_worst_group(summary)}"
        self.noted(f"step {step:>5}  {set_name}: {shown}")

    def started(self, run: RunFolder, done: int) -> None:
        self._steps = run.config.train.steps

    def stepped(self, step: Step) -> None:
        assert self._task is not None
        steps = self._steps
        detail = _detail(step)
        self._progress.update(self._task, completed=step.number, detail=detail)
        if not console.is_terminal and (step.number % max(steps // 10, 1) == 0 or step.number == steps):
            self.noted(f"step {step.number:>5}/{steps}  {detail}")


def _detail(step: Step) -> str:
    """A step's main figures: the mean reward if there is one, else the loss."""
    values = [reward.value for group in step.groups for reward in group.rewards if reward is not None]
    if not values:
        return f"loss {step.metrics['loss']:.4f}"
    shown = f"reward {sum(values) / len(values):.3f}"
    constant = step.metrics.get("zero_variance_share")
    return shown if constant is None else f"{shown}  zero-variance groups {percent(constant)}"
