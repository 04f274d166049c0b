"""The base of trackers: what a run does, as a few calls that every experiment tracking library has."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, NonNegativeInt

from antiphon.config import Settings
from antiphon.run.observers import Observer
from antiphon.run.trackers.figures import Sample, eval_samples, eval_scalars, step_samples, step_scalars
from antiphon.run.trackers.state import TrackerState
from antiphon.runs.folder import RunFolder
from antiphon.runs.status import State

if TYPE_CHECKING:
    from antiphon.rollout.gate import GateReport
    from antiphon.run.loop import Step


class TrackerSettings(Settings):
    """What all trackers can be told."""

    samples: NonNegativeInt = Field(default=8, description="Rows of a table of samples; 0 for no tables.")
    samples_every: NonNegativeInt = Field(
        default=50, description="Steps between tables of completions; 0 for evaluations' tables alone."
    )
    audio: bool = Field(default=True, description="Send the audio of samples too.")


class ExperimentTracker(Observer):
    """A tracker implements `open`, `scalars`, `table`, `notes` and `close`; the rest of an observer is here.

    Steps that the library holds are not sent again: a resumed run repeats them exactly.
    """

    name: str
    """The tracker's file in the run folder is `trackers/NAME.json`."""
    rewinds = False
    """Whether `open` makes the library forget what came after the steps that are done."""

    Settings: type[TrackerSettings] = TrackerSettings

    def __init__(self, settings: Any) -> None:
        self.settings = settings
        self._early: list[str] = []
        self._step = 0
        self._state: TrackerState | None = None

    @abstractmethod
    def open(self, run: RunFolder, id: str | None, done: int) -> str:
        """Start the library's run, or go on with its run `id`, after `done` steps. Returns its id."""

    @abstractmethod
    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Add a point to each curve."""

    @abstractmethod
    def table(self, step: int, name: str, samples: Sequence[Sample]) -> None:
        """Keep a table of samples; `name` is `train` or the name of an evaluation set."""

    @abstractmethod
    def notes(self, step: int, lines: Sequence[str]) -> None:
        """Keep all notes of the run so far, of which the last is new."""

    @abstractmethod
    def close(self, state: State) -> None:
        """End the library's run as `finished`, `stopped`, `interrupted` or `failed`, and send what is left."""

    def started(self, run: RunFolder, done: int) -> None:
        self._run, self._step = run, done
        kept = TrackerState.load(run.path / "trackers" / f"{self.name}.json")
        if self.rewinds:
            kept.rewind(done)
        kept.id = self.open(run, kept.id, done)
        kept.write()
        self._state = kept
        for message in self._early:
            self.noted(message)

    def stepped(self, step: Step) -> None:
        self._step = step.number
        if self._kept.advance("step", step.number):
            self.scalars(step.number, step_scalars(step))
            every, limit = self.settings.samples_every, self.settings.samples
            if every and limit and step.number % every == 0:
                self.table(step.number, "train", self._heard(step_samples(step, limit)))

    def evaluated(
        self, step: int, set_name: str, summary: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]
    ) -> None:
        if self._kept.advance(f"eval/{set_name}", step):
            self.scalars(step, eval_scalars(set_name, summary))
            if self.settings.samples:
                self.table(step, set_name, self._heard(eval_samples(rows, self._run.path, self.settings.samples)))

    def gated(self, step: int, report: GateReport) -> None:
        if self._kept.advance("gate", step):
            self.scalars(step, {f"gate/{check.name}": check.value for check in report.checks})

    def saved(self, step: int, path: Path) -> None:
        self.noted(f"saved {path.name}")

    def noted(self, message: str) -> None:
        if self._state is None:
            self._early.append(message)
            return
        self._state.note(f"step {self._step}: {message}")
        self.notes(self._step, self._state.notes)

    def finished(self, state: State, step: int, reason: str | None = None) -> None:
        self.noted(f"{state}: {reason}" if reason else state)
        self.close(state)

    @property
    def _kept(self) -> TrackerState:
        assert self._state is not None, "a tracker is told that the run started before anything else"
        return self._state

    def _heard(self, samples: list[Sample]) -> list[Sample]:
        return samples if self.settings.audio else [replace(one, audio=None) for one in samples]
