"""The loop: the model answers, the reward responds, the model learns.

data ──Example──▶ task.prompt ──Prompt──▶ engine.rollout ──Group of Completions──▶ rewards ──▶ algorithm ──▶ train step
                                               ▲                                                      │
                                               └──────────────── sync(policy, version) ◀──────────────┘
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from torch import Tensor

from antiphon.rollout.collect import Collector
from antiphon.rollout.metrics import rollout_metrics
from antiphon.run.gather import GroupGatherer
from antiphon.train.trainer import Trainer
from antiphon.types import Group


@dataclass(frozen=True)
class Step:
    """What one turn of the loop made, on all ranks together. `number` counts steps done, from 1.

    Ranks other than 0 see no groups, and metrics of the update alone.
    """

    number: int
    groups: list[Group]
    advantages: Tensor
    """[N, A], the completions of all groups one after the other."""
    metrics: Mapping[str, float]
    """All that was measured, of the rollout and of the update."""
    seconds: Mapping[str, float]
    """Wall-clock time of each phase."""


def run_loop(
    start: int,
    stop: int,
    collector: Collector,
    trainer: Trainer,
    gather: GroupGatherer,
    after_step: Callable[[Step], None],
) -> None:
    """Steps `start` to `stop` − 1 (0-based); `after_step` records, evaluates and saves."""
    for step in range(start, stop):
        collector.engine.sync(trainer.policy, step)
        groups, collected, seconds = collector.collect(step)
        with _timed(trainer, seconds):
            advantages, learned = trainer.step(groups, step)
        groups, advantages = gather(groups, advantages)
        metrics = rollout_metrics(groups, step) | collected | learned
        after_step(Step(step + 1, groups, advantages, metrics, seconds))


def calibrate_step(step: int, collector: Collector, trainer: Trainer) -> tuple[dict[str, float], dict[str, float]]:
    """What `step` (0-based) would learn from, without learning: metrics, and the seconds of each phase."""
    groups, collected, seconds = collector.collect(step)
    with _timed(trainer, seconds):
        scored = trainer.evaluate(groups)
    return rollout_metrics(groups) | collected | scored, seconds


@contextmanager
def _timed(trainer: Trainer, seconds: dict[str, float]) -> Iterator[None]:
    """Writes into `seconds` what the trainer takes, and apart from it what its teacher takes."""
    began, judged = time.perf_counter(), trainer.teacher.seconds if trainer.teacher else 0.0
    yield
    seconds["train"] = time.perf_counter() - began
    if trainer.teacher:
        seconds["teacher"] = trainer.teacher.seconds - judged
        seconds["train"] -= seconds["teacher"]
