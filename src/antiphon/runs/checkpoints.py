"""The checkpoints of a run, `checkpoints/step-NNNNNN/`, written atomically."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from antiphon.errors import RunError
from antiphon.runs import atomic

_STEP = re.compile(r"step-(\d{6,})")


def step_name(step: int) -> str:
    """The name of a step's files and folders: `step-000050`."""
    return f"step-{step:06d}"


def step_of(name: str) -> int | None:
    """The step of a file or folder named by `step_name`, else None."""
    match = _STEP.fullmatch(name)
    return int(match[1]) if match else None


@dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint."""

    step: int
    path: Path

    def __fspath__(self) -> str:
        return str(self.path)

    @property
    def size(self) -> int:
        """Bytes of all its files."""
        return sum(file.stat().st_size for file in self.path.rglob("*") if file.is_file())

    @property
    def time(self) -> float:
        """Completion time, in seconds since the epoch."""
        return self.path.stat().st_mtime


@dataclass(frozen=True)
class Checkpoints:
    """The folder `checkpoints/` of one run."""

    path: Path

    @contextmanager
    def save(self, step: int) -> Iterator[Path]:
        """Yields a folder for the checkpoint of `step`; it becomes visible when the block succeeds."""
        with atomic.naming(self.path):
            self.path.mkdir(exist_ok=True)
        with atomic.atomic_dir(self.path / step_name(step)) as folder:
            yield folder

    def list(self) -> list[Checkpoint]:
        """Complete checkpoints, oldest step first."""
        if not self.path.is_dir():
            return []
        steps = {step: path for path in self.path.iterdir() if (step := step_of(path.name)) is not None}
        return [Checkpoint(step, steps[step]) for step in sorted(steps)]

    def latest(self) -> Checkpoint | None:
        """The checkpoint of the last step, or None."""
        return max(self.list(), key=lambda c: c.step, default=None)

    def at(self, step: int | None) -> Checkpoint:
        """The checkpoint of `step`, or the latest for None. Raises `RunError` with the existing steps."""
        steps = {checkpoint.step: checkpoint for checkpoint in self.list()}
        if not steps:
            raise RunError(f"the run {self.path.parent} has no checkpoint; set train.save_every to keep some")
        wanted = max(steps) if step is None else step
        if wanted not in steps:
            there = ", ".join(map(str, steps))
            raise RunError(f"the run {self.path.parent} has no checkpoint of step {step}; it has steps {there}")
        return steps[wanted]

    def prune(self, keep: int, protect: int | None = None) -> None:
        """Remove all but the newest `keep` checkpoints (at least 1) and the one of step `protect`."""
        assert keep >= 1
        for checkpoint in self.list()[:-keep]:
            if checkpoint.step != protect:
                atomic.remove_dir(checkpoint.path)
