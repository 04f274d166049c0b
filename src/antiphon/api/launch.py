"""Starts a training run in a separate process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from antiphon.api.importable import require_importable
from antiphon.config import Config, yaml
from antiphon.errors import ConfigError, RunError
from antiphon.runs import atomic
from antiphon.runs.checkpoints import Checkpoint
from antiphon.runs.environment import LAUNCHED
from antiphon.runs.folder import RunFolder, word
from antiphon.runs.status import now
from antiphon.types import Seconds

if TYPE_CHECKING:
    from antiphon.run.train import TrainResult

_TAIL = 15
"""Log lines to quote in an error."""


def launch(config: Config, reward: Any = None, resume: str | None = None) -> LaunchedRun:
    """Start `antiphon train` with `config`; `reward`, if given, replaces its reward.

    Raises `ConfigError` if the process could not import the reward, or if this process is itself a launched run.
    """
    if os.environ.get(LAUNCHED):
        raise ConfigError(
            "launch() was called by a file that a launched run imports for its reward; put the call under "
            'if __name__ == "__main__":, or the reward into a file of its own'
        )
    require_importable(reward)
    folder = _make_folder(Path(config.output), config)
    atomic.write_text(folder / "recipe.yaml", config.to_yaml())
    what = [str(folder / "recipe.yaml")]
    if resume is not None:
        what = [*what, "--resume", resume] if resume == "auto" else ["--resume", resume, *as_overrides(config)]
    environment = {**os.environ, LAUNCHED: "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    began = now()
    with (folder / "result.json").open("w") as out, (folder / "log.txt").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "antiphon", "train", *what, "--output", config.output, "--json"],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=log,
            env=environment,
            start_new_session=True,
        )
    return LaunchedRun(process, folder, Path(config.output), began)


class LaunchedRun:
    """A training run in a separate process, returned by `TrainConfig.launch`.

    Attributes:
        log: Path of the process's output.
        pid: The process id.

    Example:
        ```python
        run = TrainConfig("builtin:student", "train.jsonl", Recipe("grpo")).launch()
        while not run.done():
            print(run.checkpoints())
            time.sleep(60)
        print(run.result().after)
        ```
    """

    def __init__(self, process: subprocess.Popen[bytes], folder: Path, output: Path, began: str) -> None:
        self.log, self.pid = folder / "log.txt", process.pid
        self._process, self._folder, self._output = process, folder, output
        self._run: RunFolder | None = None
        self._began = began

    def __repr__(self) -> str:
        state = "running" if not self.done() else f"ended with status {self._process.returncode}"
        return f"LaunchedRun(pid={self.pid}, {state}, log={str(self.log)!r})"

    def done(self) -> bool:
        """Whether the process has ended, successfully or not."""
        return self._process.poll() is not None

    @property
    def run(self) -> RunFolder:
        """The run's folder. Waits until the process has checked data, model and reward and creates it.

        Raises:
            RunError: The process ended before that; the message has the end of its log.
        """
        while not self._found():
            if self.done() and not self._found():
                raise self._failure()
            time.sleep(0.1)
        assert self._run is not None
        return self._run

    @property
    def training_run_id(self) -> str:
        """The run's id; waits like `run`."""
        return self.run.id

    def checkpoints(self) -> list[Checkpoint]:
        """The complete checkpoints so far, newest last; empty before the run starts."""
        return self.run.checkpoints.list() if self._found() else []

    def result(self, timeout: Seconds | None = None) -> TrainResult:
        """Wait for the end and return the result.

        Args:
            timeout: Seconds to wait; None for no limit.

        Returns:
            The result, as of `TrainConfig.train`.

        Raises:
            TimeoutError: The run is not done in time. It continues.
            RunError: The run failed or was stopped; the message has the end of its log.
        """
        from antiphon.evaluate.watch import Stop
        from antiphon.run.train import TrainResult

        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"process {self.pid} is still training after {timeout:g} s; it continues") from None
        lines = (self._folder / "result.json").read_text().splitlines()
        if not lines:
            raise self._failure()
        told = json.loads(lines[-1])
        return TrainResult(
            RunFolder(Path(told["path"])),
            told["steps"],
            told["seconds"],
            Path(told["checkpoint"]) if told["checkpoint"] else None,
            told["eval"]["before"],
            told["eval"]["after"],
            Stop(**told["stopped"]) if told["stopped"] else None,
        )

    def stop(self, patience: Seconds = 60.0) -> None:
        """Stop the run like Ctrl-C: it is marked as interrupted and can be resumed.

        Args:
            patience: Seconds before it is killed.
        """
        for how in (signal.SIGINT, signal.SIGKILL):
            if not self.done():
                self._process.send_signal(how)
                try:
                    self._process.wait(patience)
                except subprocess.TimeoutExpired:
                    continue

    def _found(self) -> bool:
        """Whether the run's folder exists: the one whose status was written by the launched process."""
        folders = self._output.iterdir() if self._run is None and self._output.is_dir() else ()
        for path in folders:
            try:
                status = RunFolder.open(path).status
            except RunError:  # Not a run, or damaged.
                continue
            if status.pid == self.pid and status.updated >= self._began:
                self._run = RunFolder(path)
        return self._run is not None

    def _failure(self) -> RunError:
        tail = self.log.read_text(errors="replace").rstrip().splitlines()[-_TAIL:]
        ended = f"process {self.pid} ended with status {self._process.returncode} and no result"
        return RunError("\n  ".join([f"{ended}; its log {self.log} ends:", *tail]))


def as_overrides(config: Config) -> list[str]:
    """The whole recipe as command-line arguments."""
    return [f"{key}={yaml.dump_inline(value)}" for key, value in config.model_dump(mode="json").items()]


def _make_folder(output: Path, config: Config) -> Path:
    """A new folder in `output/launched/`, for the recipe, the log and the result."""
    name = f"{datetime.now(UTC):%Y%m%d-%H%M%S-%f}-{config.name or word(config.algorithm_name)}"
    folder = output / "launched" / name
    with atomic.naming(folder):
        folder.mkdir(parents=True)
    return folder
