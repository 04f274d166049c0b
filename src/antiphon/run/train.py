"""One training run from its recipe: evaluate, loop, save; or pick it up where it was killed."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from antiphon.config import Config
from antiphon.distributed.device import prepare_cpu, release_memory, resolve_device
from antiphon.distributed.world import World
from antiphon.errors import RankError
from antiphon.evaluate.watch import Stop
from antiphon.rewards.load import RewardSpec, in_recipe
from antiphon.run.components import Components, pinned
from antiphon.run.evaluation import Summary
from antiphon.run.observers import Observer, Observers
from antiphon.run.observers.folder import FolderWriter
from antiphon.run.observers.plots import Plots
from antiphon.run.observers.problems import Problems
from antiphon.run.resume import find_resumable
from antiphon.run.schedule import Schedule
from antiphon.run.trackers.load import load_trackers
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
    problems: list[str] = field(default_factory=list)
    """What went wrong in it, and what to change: truncated answers, nothing learned, rewards and rows left out."""

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
            "problems": self.problems,
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

    Under torchrun every rank calls this and gets the same result; rank 0 alone writes and tells `observers`.
    """
    prepare_cpu(config.threads)
    release_memory()  # Of earlier runs in this process.
    world = World.from_environment(resolve_device(config.device))
    try:
        with world.failing_together():
            return _train(config, resume, observers if world.is_main else (), command, reward, world)
    finally:
        world.part()


def _train(
    config: Config,
    resume: str | None,
    observers: Sequence[Observer],
    command: Sequence[str],
    reward: RewardSpec | None,
    world: World,
) -> TrainResult:
    began = time.perf_counter()
    config = world.from_main(lambda: pinned(config))
    if reward is not None:
        config = config.model_copy(update={"reward": in_recipe(reward)})
    everyone = Observers()
    trackers = load_trackers(config.track, everyone.noted) if world.is_main else []
    found = world.from_main(lambda: find_resumable(config, resume))
    run, components, done = (
        _new(config, command, observers, reward, world)
        if found is None
        else _resumed(config, *found, observers, reward, world)
    )
    if world.is_main:
        everyone.all = [
            Plots(),  # Plots and problems are there before the state says that the run is over.
            Problems(everyone.noted, components.skipped_rows),
            FolderWriter(components.pieces),
            *observers,
            *trackers,
        ]
    schedule = Schedule(run, components, done, everyone)
    steps, stopped = _followed(schedule, everyone)
    result = world.from_main(lambda: _result(schedule, steps, stopped, time.perf_counter() - began))
    world.close()
    return result


def _followed(schedule: Schedule, everyone: Observers) -> tuple[int, Stop | None]:
    """The schedule's run to its end, of which `everyone` is told, whatever it is."""
    run, world = schedule.run, schedule.world
    everyone.started(run, schedule.done)
    try:
        with world.failing_together():
            return schedule.run_to_end()
    except KeyboardInterrupt:
        kept = run.checkpoints.latest()
        everyone.noted(
            f"interrupted after step {run.status.step}; resuming {run.id} starts from step {kept.step if kept else 0}"
        )
        everyone.finished("interrupted", run.status.step)
        raise
    except BaseException as error:
        reason = str(error) if isinstance(error, RankError) else f"{type(error).__name__}: {error}"
        everyone.finished("failed", run.status.step, reason)
        if not world.part() and not isinstance(error, RankError):
            # Rank 0 is busy, and will be ended before it hears of this.
            run.update("failed", error=f"rank {world.rank}: {reason}")
            run.log(f"failed: rank {world.rank}: {reason}")
        raise


def _result(schedule: Schedule, steps: int, stopped: Stop | None, seconds: float) -> TrainResult:
    latest = schedule.run.checkpoints.latest()
    before, after = (schedule.evaluations.saved(step) for step in (0, steps))
    problems = [one["message"] for one in schedule.run.problems()]
    return TrainResult(schedule.run, steps, seconds, latest.path if latest else None, before, after, stopped, problems)


def _new(
    config: Config, command: Sequence[str], observers: Sequence[Observer], reward: RewardSpec | None, world: World
) -> tuple[RunFolder, Components, int]:
    components = Components(config, config.model, Observers(observers), reward, world=world)
    run = world.from_main(lambda: RunFolder.create(config, command or sys.argv))
    if world.is_main:
        components.write_pseudo_labels(run)
    return run, components, 0


def _resumed(
    config: Config,
    run: RunFolder,
    done: int,
    observers: Sequence[Observer],
    reward: RewardSpec | None,
    world: World,
) -> tuple[RunFolder, Components, int]:
    """The run with its weights, optimizer and folder as they were after `done` steps."""
    if world.is_main:
        run.require_free()
    whole = done and not config.lora
    weights = str(run.checkpoints.at(done).path) if whole else config.model
    components = Components(config, weights, Observers(observers), reward, run.transcripts(), world)
    if done:
        load_checkpoint(run.checkpoints.at(done).path, components.trainer)
    if world.is_main:
        run.claim()
        run.write_config(config)
        components.write_pseudo_labels(run)
        run.truncate_after(done)
        run.log(f"resumed from step {done}")
    return run, components, done
