"""An observer in a thread of its own, so that it can neither slow nor end the run."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from queue import Full, Queue
from threading import Thread
from typing import TYPE_CHECKING, Any

from antiphon.errors import describe
from antiphon.run.observers import Observer
from antiphon.runs.folder import RunFolder
from antiphon.runs.status import State
from antiphon.types import Seconds

if TYPE_CHECKING:
    from antiphon.rollout.gate import GateReport
    from antiphon.run.loop import Step

EVENTS = 32
"""Most events that wait for the thread. A step holds its audio, so this bounds memory too."""
PATIENCE: Seconds = 30.0
"""How long the end of a run waits for what is still to be sent."""


class Background(Observer):
    """Tells `observer` what happens, from a thread.

    The observer's first exception is noted, and it is told nothing more. When it falls behind by `events` events, it
    misses the next ones, which is noted once. Notes come from the thread that trains.
    """

    def __init__(
        self,
        name: str,
        observer: Observer,
        note: Callable[[str], None],
        events: int = EVENTS,
        patience: Seconds = PATIENCE,
    ) -> None:
        """`name` is what notes call the observer."""
        self._name, self._observer, self._note, self._patience = name, observer, note, patience
        self._queue: Queue[Callable[[], None] | None] = Queue(events)
        self._failure: str | None = None
        self._said: set[str] = set()
        self._thread = Thread(target=self._work, name=f"tracker {name}", daemon=True)

    def started(self, run: RunFolder, done: int) -> None:
        self._thread.start()
        self._tell(self._observer.started, run, done)

    def stepped(self, step: Step) -> None:
        self._tell(self._observer.stepped, step)

    def evaluated(
        self, step: int, set_name: str, summary: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]
    ) -> None:
        self._tell(self._observer.evaluated, step, set_name, summary, rows)

    def gated(self, step: int, report: GateReport) -> None:
        self._tell(self._observer.gated, step, report)

    def saved(self, step: int, path: Path) -> None:
        self._tell(self._observer.saved, step, path)

    def noted(self, message: str) -> None:
        self._tell(self._observer.noted, message)

    def finished(self, state: State, step: int, reason: str | None = None) -> None:
        """Tells the observer, and waits until it is done with everything, but no longer than `patience`."""
        deadline = time.monotonic() + self._patience
        try:
            for job in (partial(self._observer.finished, state, step, reason), None):
                self._queue.put(job, timeout=max(deadline - time.monotonic(), 0))
        except Full:
            pass  # It is said below that the thread is busy.
        self._thread.join(max(deadline - time.monotonic(), 0))
        self._report_failure()
        if self._thread.is_alive() and self._failure is None:
            self._say_once("slow", f"is still busy {self._patience:g} s after the run; what it has not sent is lost")

    def _tell(self, method: Callable[..., None], *arguments: Any) -> None:
        self._report_failure()
        if self._failure is None:
            try:
                self._queue.put_nowait(partial(method, *arguments))
            except Full:
                self._say_once("behind", f"falls behind by {self._queue.maxsize} events and will miss some")

    def _work(self) -> None:
        while (job := self._queue.get()) is not None:
            if self._failure is None:
                try:
                    job()
                except BaseException as error:
                    self._failure = describe(error)

    def _report_failure(self) -> None:
        if self._failure is not None:
            self._say_once("failed", f"failed and is off for the rest of the run: {self._failure}")

    def _say_once(self, what: str, message: str) -> None:
        if what not in self._said:
            self._said.add(what)
            self._note(f"the tracker {self._name} {message}")
