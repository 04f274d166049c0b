"""The checkpoints of a run: what each measures, how large it is, and why it is still there."""

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
    """When it was completed, in seconds since the epoch."""
    whole: bool
    """Whether the files that say what model it is are there."""
    best: bool
    why: str
    """What keeps it."""
    worse: int
    """Groups that the regression guard found significantly worse than before training."""


def list_checkpoints(run: Path, config: Config | None, summaries: Sequence[Mapping[str, Any]]) -> list[Kept]:
    """The latest first. `config` is the run's recipe, None where it is damaged; `summaries` are its evaluations."""
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
    """Groups that were worse, by step; none where the file is damaged."""
    try:
        return {line["step"]: int(line["worse"]) for line in lines.read(path)}
    except (OSError, KeyError, TypeError, ValueError, OverflowError):
        return {}


def _read_facts(path: Path) -> tuple[int, float, bool]:
    one = Checkpoint(0, path)
    return one.size, one.time, any((path / name).is_file() for name in _MODEL_FILES)


_facts = Cached(_read_facts)
_guard = Cached(_read_guard)
