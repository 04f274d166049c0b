"""Compares evaluations, and two checkpoints: by the run's evaluations if both have them, else by `antiphon compare` in
a process of its own, which ends with the dashboard."""

from __future__ import annotations

import atexit
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock, Thread
from typing import Any, Literal

from antiphon.config import Config
from antiphon.dashboard.read.evaluations import Evaluated, read_rows
from antiphon.errors import AntiphonError
from antiphon.evaluate import compare as evaluate
from antiphon.evaluate.results import Evaluation


@dataclass
class Comparison:
    """Step `b` of a run against its step `a`; step 0 is the model before training."""

    run: Path
    a: int
    b: int
    saved: tuple[list[Evaluated], list[Evaluated]] | None = None
    """Evaluations of both steps on the same sets; None if the models must be run."""
    total: int | None = None
    """Clips per side, if known from earlier evaluations."""
    state: Literal["running", "finished", "failed", "stopped"] = "running"
    sets: list[dict[str, Any]] = field(default_factory=list)
    """For each set, the result of `antiphon compare --json`, including the `sentence`."""
    error: str = ""
    _folder: Path | None = None
    """Where `antiphon compare` saves its transcripts."""
    _process: subprocess.Popen[str] | None = None

    def progress(self) -> tuple[str, int]:
        """The current phase, and the clips done on both sides together."""
        first, second = (_recognized(self._folder / side / "transcripts") if self._folder else None for side in "ab")
        if second is not None:
            return f"recognizing after step {self.b}", (first or 0) + second
        if first is None:
            return f"loading step {self.a}", 0
        finished = self.total is not None and first >= self.total
        return f"loading step {self.b}" if finished else f"recognizing after step {self.a}", first

    def names(self, config: Config) -> list[str]:
        """Both models as arguments of `antiphon compare --runs`: RUN@STEP, or the run's initial model."""
        return [f"{self.run.name}@{step}" if step else config.model for step in (self.a, self.b)]

    def stop(self) -> None:
        if self.state == "running":
            self.state = "stopped"
            if self._process is not None:
                self._process.terminate()

    def work(self, config: Config) -> None:
        """Block until the comparison has finished, failed or stopped."""
        if self.saved is None:
            self._recognize(config)
            return
        try:
            before, after = self.saved
            found = judge((self.run, before), (self.run, after), *self.names(config))
            self.sets, self.state = [one.to_dict() for one in found], "finished"
        except AntiphonError as error:
            self.error, self.state = str(error), "failed"

    def _recognize(self, config: Config) -> None:
        with tempfile.TemporaryDirectory(prefix="antiphon-compare-") as folder:
            self._folder = Path(folder)
            self._process = subprocess.Popen(
                [sys.executable, "-m", "antiphon", "compare", *_arguments(self, config)],
                cwd=_working_folder(self.run),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            if self.state == "stopped":
                self._process.terminate()
            out, err = self._process.communicate()
            self._folder = None
            if self.state == "stopped":
                return
            try:
                self.sets = json.loads(out)["sets"]
                self.state = "finished"
            except (ValueError, KeyError):
                told = " ".join(err.strip().splitlines()[-3:]).removeprefix("error: ")
                self.error = told or f"it ended with status {self._process.returncode}"
                self.state = "failed"


Side = tuple[Path, Sequence[Evaluated]]
"""A run, and some of its evaluations."""


def judge(before: Side, after: Side, name_a: str, name_b: str) -> list[evaluate.Comparison]:
    """Compare evaluations of one run or two, on the sets that both sides have.

    Raises `DataError` if they cannot be compared, and `RunError` if one is damaged.
    """
    a, b = (
        Evaluation(
            name,
            None,
            {one.set: {"normalizer": None, **one.summary} for one in side},
            {one.set: read_rows(run, one.folder) for one in side},
        )
        for name, (run, side) in ((name_a, before), (name_b, after))
    )
    return evaluate.compare(a, b, name_a, name_b)


_all: dict[tuple[Path, int, int], Comparison] = {}
_lock = Lock()


def begin(comparison: Comparison, config: Config) -> None:
    """Start a comparison, unless the same one is running."""
    key = comparison.run, comparison.a, comparison.b
    with _lock:
        found = _all.pop(key, None)
        _all[key] = found if found is not None and found.state == "running" else comparison
        if _all[key] is found:
            return
    Thread(target=comparison.work, args=(config,), name="antiphon-compare", daemon=True).start()


def dismiss(comparison: Comparison) -> None:
    """Stop a comparison, if it is running, and remove it."""
    comparison.stop()
    with _lock:
        _all.pop((comparison.run, comparison.a, comparison.b), None)


def of_run(run: Path) -> list[Comparison]:
    """The comparisons of a run since the dashboard started, newest first."""
    with _lock:
        return [one for one in reversed(_all.values()) if one.run == run]


@atexit.register
def _stop_all() -> None:
    for one in list(_all.values()):
        one.stop()


def _arguments(one: Comparison, config: Config) -> list[str]:
    given: dict[str, Any] = {
        "--runs": one.run.parent,
        "--output": one._folder,
        "--limit": config.eval.limit,
        "--task": config.task,
        "--language": config.language,
        "--batch-size": config.eval.batch_size,
        "--max-new-tokens": config.rollout.longest,
    }
    flags = [f"{key}={value}" for key, value in given.items() if value is not None]
    flags += [f"--data={spec}" for spec in config.data.eval]
    flags += [f"--columns={name}={key}" for name, key in config.data.columns.items()]
    flags += ["--trust-remote-code"] if config.trust_remote_code else []
    return [*one.names(config), *flags, "--json"]


def _working_folder(run: Path) -> Path | None:
    """The run's working folder, which its recipe's paths are relative to; None if it no longer exists."""
    try:
        folder = Path(json.loads((run / "environment.json").read_bytes())["folder"])
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return folder if folder.is_dir() else None


def _recognized(folder: Path) -> int | None:
    """Number of transcripts saved so far; None before there are any files."""
    files = list(folder.glob("*.jsonl"))
    if not files:
        return None
    return sum(file.read_bytes().count(b'"finish_reason":') for file in files)
