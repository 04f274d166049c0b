"""The protocol of what follows a run, and several of them as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from antiphon.rollout.gate import GateReport
    from antiphon.run.loop import Step
    from antiphon.runs.folder import RunFolder
    from antiphon.runs.status import State


class Observer:
    """Is told what a run does. Every method does nothing by default: override the ones you need.

    An exception ends the run. What must not, such as a tracker, catches its own.
    """

    def phase(self, title: str, total: int | None = None) -> None:
        """A stretch of work begins, of `total` units where that is known."""

    def advance(self, done: int) -> None:
        """So many units of the phase are done."""

    def started(self, run: RunFolder, done: int) -> None:
        """The run's folder is there; `done` steps were made before, by a run that is resumed now."""

    def stepped(self, step: Step) -> None:
        """A step was made."""

    def evaluated(
        self, step: int, set_name: str, summary: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]
    ) -> None:
        """A set was measured after `step` steps; each row names its clip under `audio`: its copy in the run folder
        where there is one, else its source."""

    def gated(self, step: int, report: GateReport) -> None:
        """The parity gate was asked after `step` steps. A report that fails ends the run after this."""

    def saved(self, step: int, path: Path) -> None:
        """A checkpoint is complete."""

    def noted(self, message: str) -> None:
        """Something a person should read."""

    def finished(self, state: State, step: int, reason: str | None = None) -> None:
        """The run ended after `step` steps as "finished", "stopped", "interrupted" or "failed", and why."""


class Observers(Observer):
    """Several observers, told in order."""

    def __init__(self, observers: Sequence[Observer] = ()) -> None:
        self.all = list(observers)

    def phase(self, title: str, total: int | None = None) -> None:
        for one in self.all:
            one.phase(title, total)

    def advance(self, done: int) -> None:
        for one in self.all:
            one.advance(done)

    def started(self, run: RunFolder, done: int) -> None:
        for one in self.all:
            one.started(run, done)

    def stepped(self, step: Step) -> None:
        for one in self.all:
            one.stepped(step)

    def evaluated(
        self, step: int, set_name: str, summary: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]
    ) -> None:
        for one in self.all:
            one.evaluated(step, set_name, summary, rows)

    def gated(self, step: int, report: GateReport) -> None:
        for one in self.all:
            one.gated(step, report)

    def saved(self, step: int, path: Path) -> None:
        for one in self.all:
            one.saved(step, path)

    def noted(self, message: str) -> None:
        for one in self.all:
            one.noted(message)

    def finished(self, state: State, step: int, reason: str | None = None) -> None:
        for one in self.all:
            one.finished(state, step, reason)
