"""Which run to continue, from which step, and with which recipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from antiphon.config import Config, load_config
from antiphon.errors import ConfigError, RunError
from antiphon.runs.find import list_runs, resolve
from antiphon.runs.folder import RunFolder


def find_resumable(config: Config, resume: str | None) -> tuple[RunFolder, int] | None:
    """The run to continue and the steps that are done in it; None for a new run.

    Raises `ConfigError` when its checkpoint is past the recipe's last step.
    """
    if resume == "auto":
        newest = next(iter(list_runs(Path(config.output))), None)
        unfinished = newest is not None and newest.status.seen_state not in ("finished", "stopped")
        resume = newest.id if newest and unfinished and _same_recipe(newest.config, config) else None
    if resume is None:
        return None
    run, step = resolve(resume, Path(config.output))
    if step is None:
        latest = run.checkpoints.latest()
        done = latest.step if latest else 0
    else:
        done = run.checkpoints.at(step).step
    if done > config.train.steps:
        raise ConfigError(
            f"the checkpoint of {run.id} has {done} steps behind it, more than train.steps={config.train.steps}; "
            f"raise train.steps, or resume from an earlier one: {run.id}@STEP"
        )
    return run, done


def resumed_config(resume: str, flags: Mapping[str, Any], overrides: Sequence[str] | Mapping[str, Any]) -> Config:
    """The recipe of the run to resume, with flags and overrides such as `train.steps=200` laid over it.

    Raises `RunError` when there is no such run, or when another model or other labels are asked for.
    """
    run, _ = resolve(resume, Path(flags.get("output") or "runs"))
    config = load_config(run.path / "config.yaml", overrides, flags)
    if config.model != run.config.model:
        raise RunError(f"the run {run.id} trains {run.config.model}; start a new run to train {config.model}")
    if config.labels != run.config.labels:
        raise RunError(f"the run {run.id} has labels={run.config.labels}; start a new run to learn from other texts")
    return config


def _same_recipe(one: Config, other: Config) -> bool:
    """Whether both train the same. Trackers only watch, so they do not count."""
    return one.model_copy(update={"track": other.track}) == other
