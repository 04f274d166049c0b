"""The checkpoints of a run: metrics, size, and why each is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from antiphon.config import Config
from antiphon.dashboard.read.cache import Cached
from antiphon.runs import best, lines
from antiphon.runs.checkpoints import Checkpoint, Checkpoints
from antiphon.tasks.summary import main_column

_MODEL_FILES = ("config.json", "adapter_config.json", "adapter/adapter_config.json")


@dataclass(frozen=True)
class Kept:
    """One checkpoint."""

    step: int
    path: Path
    bytes: int
    time: float
    """Completion time, in seconds since the epoch."""
    whole: bool
    """Whether the model's configuration files exist."""
    best: bool
    why: str
    """Why it is kept."""
    worse: int
    """Groups that the regression guard found significantly worse than before training."""


def list_checkpoints(run: Path, config: Config | None, summaries: Sequence[Mapping[str, Any]]) -> list[Kept]:
    """The checkpoints, newest first. `config` is the recipe, None if damaged; `summaries` are the run's evaluations."""
    found = Checkpoints(run / "checkpoints").list()
    measure = config.eval.best if config else None
    best_step = best.best_step(summaries, measure)
    newest = {one.step for one in found[-config.train.keep_checkpoints :]} if config else set()
    worse, kept = _guard(run / "guard.jsonl"), []
    for one in reversed(found):
        is_best = one.step == best_step
        why = _why(one.step in newest, is_best, config, measure or main_column(*summaries).title)
        size, time, whole = _facts(one.path)
        kept.append(Kept(one.step, one.path, size, time, whole, is_best, why, worse.get(one.step, 0)))
    return kept


def _why(is_new: bool, is_best: bool, config: Config | None, measure: str) -> str:
    if config is None:
        return "–"
    count = config.train.keep_checkpoints
    reasons = [f"one of the newest {count}" if count > 1 else "the newest"] if is_new else []
    if is_best and config.train.keep_best:
        reasons.append(f"best by {measure}")
    return ", ".join(reasons) or "until the next one is saved"


def _read_guard(path: Path) -> dict[int, int]:
    """Number of worse groups by step; empty if the file is damaged."""
    try:
        return {line["step"]: int(line["worse"]) for line in lines.read(path)}
    except (OSError, KeyError, TypeError, ValueError, OverflowError):
        return {}


def _read_facts(path: Path) -> tuple[int, float, bool]:
    one = Checkpoint(0, path)
    return one.size, one.time, any((path / name).is_file() for name in _MODEL_FILES)


_facts = Cached(_read_facts)
_guard = Cached(_read_guard)
