"""What goes wrong in a run: said once while it trains, and summed up in its folder when it ends."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from antiphon.config import Config
from antiphon.run.loop import Step
from antiphon.run.observers.observer import Observer
from antiphon.runs.folder import RunFolder
from antiphon.runs.status import State

FIRST = 3
"""Steps at the start of a run from which nothing was learned, or steps in a row with many truncated completions, before
anything is said."""
STEPS = 10
"""Steps in a row of zero-variance groups before anything is said."""
SHARE = 0.95
"""Share of zero-variance groups that counts as all of them."""
TRUNCATED = 0.2
"""Share of truncated completions that is said while training."""
TRUNCATED_IN_ALL = 0.1
"""Mean of that share over a run that is said at its end."""
LOST = 1e-10
"""A learning rate at which AdamW's updates vanish: fp32 numbers of a weight's usual size, 0.02, are 2e-9 apart."""
CONSTANT = (
    "use data on which answers differ (harder where all are right, easier where all are wrong), raise "
    "rollout.temperature or rollout.group_size, set algorithm.dynamic_sampling (policy gradients have it), or use a "
    "reward with finer steps"
)
RAISE = (
    "raise it, unless such answers are runaways; rollout.truncated=mask leaves them out of the loss, and penalize "
    "lowers their reward"
)


@dataclass(frozen=True)
class Problem:
    """One thing that went wrong."""

    kind: str
    """`nothing_learned`, `zero_variance`, `truncated`, `reward_dropped` or `skipped`."""
    message: str
    """What happened, and what to change."""


class Problems(Observer):
    """Warns once of each kind of problem while a run trains, and writes `problems.json` when it ends."""

    def __init__(self, note: Callable[[str], None], skipped: int = 0) -> None:
        """`note` tells everyone who follows the run; `skipped` rows of its data could not be used."""
        self._note, self._skipped = note, skipped
        self._said: set[str] = set()
        self._last: deque[Mapping[str, Any]] = deque(maxlen=FIRST)
        self._constant = 0

    def started(self, run: RunFolder, done: int) -> None:
        self.run = run
        if run.problems():
            run.write_problems([])  # Of the part of the run that is resumed now.

    def stepped(self, step: Step) -> None:
        self._last.append(step.metrics)
        last, config = list(self._last), self.run.config
        constant = step.metrics.get("zero_variance_share", 0.0) >= SHARE
        self._constant = self._constant + 1 if constant and step.metrics.get("advantage_share", 0.0) <= 1 - SHARE else 0
        if len(last) == FIRST and step.number == FIRST and (why := _nothing_learned(last, config)):
            self._say("nothing_learned", f"step {step.number}: nothing was learned so far: {why}")
        elif self._constant == STEPS:
            self._say(
                "nothing_learned",
                f"step {step.number}: in the last {STEPS} steps almost every group had zero reward variance, so the "
                f"rewards teach next to nothing; {CONSTANT}",
            )
        if len(last) == FIRST and min(one.get("truncated_share", 0.0) for one in last) >= TRUNCATED:
            self._say("truncated", f"step {step.number}: {_truncated(last, config)} in the last {FIRST} steps; {RAISE}")

    def finished(self, state: State, step: int, reason: str | None = None) -> None:
        problems = what_went_wrong(self.run.metrics(), self.run.config, self._skipped)
        self.run.write_problems([asdict(one) for one in problems])
        for one in problems:
            # The terminal shows those of a run that came to its end under its figures.
            (self.run.log if state in ("finished", "stopped") else self._note)(f"in this run {one.message}")

    def _say(self, kind: str, message: str) -> None:
        if kind not in self._said:
            self._said.add(kind)
            self._note(message)


def what_went_wrong(rows: Sequence[Mapping[str, Any]], config: Config, skipped: int = 0) -> list[Problem]:
    """The problems of a run, from the lines of its `metrics.jsonl`, the worst first."""
    found = []
    if rows and (why := _nothing_learned(rows, config)):
        found.append(Problem("nothing_learned", f"nothing was learned: {why}"))
    elif rows and _mean(rows, "zero_variance_share") >= SHARE and _mean(rows, "advantage_share") <= 1 - SHARE:
        found.append(
            Problem("zero_variance", f"almost every group had zero reward variance, which teaches little; {CONSTANT}")
        )
    if rows and _mean(rows, "truncated_share") >= TRUNCATED_IN_ALL:
        found.append(Problem("truncated", f"{_truncated(rows, config)}; {RAISE}"))
    if dropped := sum(row.get("reward_dropped") or 0 for row in rows):
        samples = sum(row.get("samples") or 0 for row in rows)
        found.append(
            Problem(
                "reward_dropped",
                f"{dropped:g} of {samples:g} completions had no reward, because it failed; log.txt has each reason",
            )
        )
    if skipped:
        found.append(Problem("skipped", f"{skipped} rows of the data were skipped; log.txt names them"))
    return found


def _nothing_learned(rows: Sequence[Mapping[str, Any]], config: Config) -> str | None:
    """Why none of the steps taught anything; None where one did."""
    rate = max(row.get("lr") or 0.0 for row in rows)
    if rate < LOST:
        return f"the learning rate was at most {rate:g}, which fp32 weights lose to rounding; raise optimizer.lr"
    moved = any(row.get("grad_norm") != 0 for row in rows)
    by_reward = any(row.get("advantage_share") != 0 for row in rows)
    if moved and (by_reward or config.teacher):
        return None
    if _mean(rows, "truncated_share") >= SHARE:
        return f"almost all answers were cut at rollout.max_new_tokens={config.rollout.longest}; raise it"
    if all((row.get("zero_variance_share") or 0) == 1 for row in rows):
        return f"all completions of a prompt earned the same, in every step; {CONSTANT}"
    if not by_reward:
        return (
            "no completion had an advantage, or was selected, in any step; lower algorithm.threshold if there is one, "
            "or use a reward that tells completions apart"
        )
    return "the gradient was 0 in every step; look at the weights of losses and rewards, and at what is frozen"


def _truncated(rows: Sequence[Mapping[str, Any]], config: Config) -> str:
    share, limit = _mean(rows, "truncated_share"), config.rollout.longest
    return f"{share:.0%} of the completions were cut at rollout.max_new_tokens={limit}"


def _mean(rows: Sequence[Mapping[str, Any]], key: str) -> float:
    """The mean over the rows that have the figure; 0 where none has."""
    values = [row[key] for row in rows if row.get(key) is not None]
    return sum(values) / len(values) if values else 0.0
