"""One training run from its recipe: evaluate, loop, save; or pick it up where it was killed."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from antiphon.config import Config
from antiphon.distributed.device import prepare_cpu, release_memory
from antiphon.evaluate.watch import Stop
from antiphon.rewards.load import RewardSpec, in_recipe
from antiphon.run.components import Components, pinned
from antiphon.run.evaluation import Summary
from antiphon.run.observers import Observer, Observers
from antiphon.run.observers.folder import FolderWriter
from antiphon.run.observers.plots import Plots
from antiphon.run.observers.variance import ZeroVarianceWarning
from antiphon.run.resume import find_resumable
from antiphon.run.schedule import Schedule
from antiphon.runs.folder import RunFolder
from antiphon.train.checkpoint import load_checkpoint


@dataclass(frozen=True)
class TrainResult:
    """What a finished run amounts to."""

    run: RunFolder
    steps: int
    seconds: float
    """Of this process, evaluations included."""
    checkpoint: Path | None
    before: dict[str, Summary] = field(default_factory=dict)
    """Each evaluation set's summary before the first step."""
    after: dict[str, Summary] = field(default_factory=dict)
    """Likewise after the last step that was made."""
    stopped: Stop | None = None
    """Why it ended early, or what the guard saw at its end."""

    @property
    def training_run_id(self) -> str:
        """The run's id, by which its checkpoints are listed."""
        return self.run.id

    def to_dict(self) -> dict[str, Any]:
        """What `antiphon train --json` prints."""
        return {
            "run": self.run.id,
            "path": str(self.run.path),
            "steps": self.steps,
            "seconds": self.seconds,
            "checkpoint": str(self.checkpoint) if self.checkpoint else None,
            "best_step": self.run.best_step(),
            "stopped": asdict(self.stopped) if self.stopped else None,
            "eval": {"before": self.before, "after": self.after},
        }


def train(
    config: Config,
    resume: str | None = None,
    observers: Sequence[Observer] = (),
    command: Sequence[str] = (),
    reward: RewardSpec | None = None,
) -> TrainResult:
    """Run a recipe to its end and return what came of it.

    `resume` is RUN, RUN@STEP, `latest`, or `auto` (the latest run of this very recipe if it is unfinished,
    else a new one); the recipe then is the run's own (see `antiphon.run.resume.resumed_config` for changing it).
    `observers` are told what happens after the run folder is written, such as a terminal.
    `reward` stands in place of the recipe's, and may hold functions themselves (see `load_reward`).
    """
    began = time.perf_counter()
    config = pinned(config)
    if reward is not None:
        config = config.model_copy(update={"reward": in_recipe(reward)})
    prepare_cpu(config.threads)
    release_memory()  # Of earlier runs in this process.
    found = find_resumable(config, resume)
    run, components, done = (
        _new(config, command, observers, reward) if found is None else _resumed(config, *found, observers, reward)
    )
    everyone = Observers()
    everyone.all = [
        Plots(),  # Drawn before the state says that the run is over.
        FolderWriter(components.pieces),
        ZeroVarianceWarning(everyone.noted),
        *observers,
    ]
    schedule = Schedule(run, components, done, everyone)
    everyone.started(run, done)
    try:
        steps, stopped = schedule.run_to_end()
    except KeyboardInterrupt:
        kept = run.checkpoints.latest()
        everyone.noted(
            f"interrupted after step {run.status.step}; resuming {run.id} starts from step {kept.step if kept else 0}"
        )
        everyone.finished("interrupted", run.status.step)
        raise
    except BaseException as error:
        everyone.finished("failed", run.status.step, f"{type(error).__name__}: {error}")
        raise
    latest = run.checkpoints.latest()
    before, after = (schedule.evaluations.saved(step) for step in (0, steps))
    return TrainResult(run, steps, time.perf_counter() - began, latest.path if latest else None, before, after, stopped)


def _new(
    config: Config, command: Sequence[str], observers: Sequence[Observer], reward: RewardSpec | None
) -> tuple[RunFolder, Components, int]:
    components = Components(config, config.model, Observers(observers), reward)
    run = RunFolder.create(config, command or sys.argv)
    components.write_transcripts(run)
    return run, components, 0


def _resumed(
    config: Config, run: RunFolder, done: int, observers: Sequence[Observer], reward: RewardSpec | None
) -> tuple[RunFolder, Components, int]:
    """The run with its weights, optimizer and folder as they were after `done` steps."""
    run.require_free()
    whole = done and not config.lora
    weights = str(run.checkpoints.at(done).path) if whole else config.model
    components = Components(config, weights, Observers(observers), reward, run.transcripts())
    if done:
        load_checkpoint(run.checkpoints.at(done).path, components.trainer)
    run.claim()
    run.write_config(config)
    components.write_transcripts(run)
    run.truncate_after(done)
    run.log(f"resumed from step {done}")
    return run, components, done
