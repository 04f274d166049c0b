"""Warns of a run whose rewards do not tell completions apart: it has nothing to learn from."""

from __future__ import annotations

from collections.abc import Callable

from antiphon.run.loop import Step
from antiphon.run.observers.observer import Observer

STEPS = 10
"""Steps in a row before anything is said."""
SHARE = 0.95
"""Share of zero-variance groups that counts as all of them."""


class ZeroVarianceWarning(Observer):
    """Speaks once, after `STEPS` steps in a row of zero-variance groups and no advantages.

    Where advantages are not 0 although no group has variance, as against a greedy baseline, the step did teach.
    """

    def __init__(self, note: Callable[[str], None]) -> None:
        self._note = note
        self._in_a_row = 0
        self._said = False

    def stepped(self, step: Step) -> None:
        constant = step.metrics.get("zero_variance_share", 0.0) >= SHARE
        taught = float((step.advantages != 0).any(-1).float().mean())
        self._in_a_row = self._in_a_row + 1 if constant and taught <= 1 - SHARE else 0
        if self._said or self._in_a_row < STEPS:
            return
        self._said = True
        self._note(
            f"step {step.number}: in the last {STEPS} steps almost every group had zero reward variance, so the "
            "rewards teach next to nothing; use data on which answers differ (harder where all are right, easier "
            "where all are wrong), raise rollout.temperature or rollout.group_size, set algorithm.dynamic_sampling "
            "(policy gradients have it), or use a reward with finer steps"
        )
