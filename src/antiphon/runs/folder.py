"""A run's folder: the only place that a run writes to and that other tools read."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from antiphon.config import Config, load_config
from antiphon.errors import RunError
from antiphon.runs import atomic, best, clips, evals, lines
from antiphon.runs.checkpoints import Checkpoints, step_name, step_of
from antiphon.runs.environment import describe
from antiphon.runs.rollouts import RolloutRow, write_rollouts
from antiphon.runs.status import State, Status, now
from antiphon.types import Audio, Clip, Hertz

_FOLDERS = ("rollouts", "audio", "audio/evals", "checkpoints", "evals", "plots")
_ANSWERS = ("audio/answers", "audio/evals/answers")
"""Made where an answer is audio."""


@dataclass(frozen=True)
class RunFolder:
    """A run folder, by its path. `docs/run-folder.md` describes its files.

    Methods that write raise `RunError` with the file, the cause and the remedy.
    """

    path: Path

    @classmethod
    def create(cls, config: Config, command: Sequence[str]) -> RunFolder:
        """Create a folder in `config.output`. Its id is the UTC time and `config.name`, or algorithm and model.

        `command` is the command line, for `environment.json`.
        """
        run = cls(_make_folder(Path(config.output), config))
        with atomic.naming(run.path):
            for name in _FOLDERS:
                (run.path / name).mkdir()
        run.write_config(config)
        atomic.write_json(run.path / "environment.json", describe(command))
        run._write_status(Status(state="starting", step=0, steps=config.train.steps, started=now()))
        return run

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """The run at `path`. Raises `RunError` if there is none."""
        if not cls.is_run(path):
            raise RunError(f"{path} is not a run folder (no status.json in it); see: antiphon runs")
        return cls(path)

    @staticmethod
    def is_run(path: Path) -> bool:
        """Whether `path` is a run folder."""
        return (path / "status.json").is_file()

    @property
    def id(self) -> str:
        return self.path.resolve().name

    @cached_property
    def config(self) -> Config:
        """The full recipe. Raises `ConfigError` if this version of antiphon cannot read it."""
        return load_config(self.path / "config.yaml")

    def write_config(self, config: Config) -> None:
        """Replace the recipe, as when resuming with more steps."""
        atomic.write_text(self.path / "config.yaml", config.to_yaml())
        self.__dict__["config"] = config

    @property
    def status(self) -> Status:
        """The last status that the run wrote. Raises `RunError` if it is damaged."""
        path = self.path / "status.json"
        try:
            return Status(**json.loads(path.read_bytes()))
        except (OSError, ValueError, TypeError) as error:
            raise RunError(f"cannot read {path}: {error}; the folder is damaged, remove it") from error

    def update(
        self, state: State, step: int | None = None, error: str | None = None, reason: str | None = None
    ) -> None:
        """Write the state and the steps done (None: unchanged), with the current time and process."""
        before = self.status
        done = before.step if step is None else step
        self._write_status(Status(state, done, self.config.train.steps, before.started, error=error, reason=reason))

    def require_free(self) -> None:
        """Raises `RunError` while another process on this machine is training the run."""
        status = self.status
        if status.seen_state in ("starting", "running") and status.pid != os.getpid():
            raise RunError(f"the run {self.path} is in use by process {status.pid}; stop that one first")

    def claim(self) -> None:
        """Make this process the run's writer, and remove leftovers of a crash.

        Raises the error of `require_free`.
        """
        self.require_free()
        for folder in (self.path, *(self.path / name for name in _FOLDERS + _ANSWERS)):
            atomic.clean(folder)
        self.update("starting")

    def log_metrics(self, step: int, values: Mapping[str, Any]) -> None:
        """Append to `metrics.jsonl`. Values must depend on seed and data only: no times."""
        lines.append(self.path / "metrics.jsonl", {"step": step, **values})

    def log_timings(self, step: int, values: Mapping[str, Any]) -> None:
        """Append to `timings.jsonl`, for values that depend on the machine."""
        lines.append(self.path / "timings.jsonl", {"step": step, **values})

    def log_gate(self, step: int, values: Mapping[str, Any]) -> None:
        """Append to `gate.jsonl`, unless the step already has a line."""
        if all(row["step"] != step for row in self.gate()):
            lines.append(self.path / "gate.jsonl", {"step": step, **values})

    def log_guard(self, step: int, values: Mapping[str, Any]) -> None:
        """Append to `guard.jsonl`, unless the step already has a line."""
        if all(row["step"] != step for row in self.guard()):
            lines.append(self.path / "guard.jsonl", {"step": step, **values})

    def guard(self) -> list[dict[str, Any]]:
        """The lines of `guard.jsonl`."""
        return lines.read(self.path / "guard.jsonl")

    def gate(self) -> list[dict[str, Any]]:
        """The lines of `gate.jsonl`."""
        return lines.read(self.path / "gate.jsonl")

    def metrics(self) -> list[dict[str, Any]]:
        """The lines of `metrics.jsonl`."""
        return lines.read(self.path / "metrics.jsonl")

    def timings(self) -> list[dict[str, Any]]:
        """The lines of `timings.jsonl`."""
        return lines.read(self.path / "timings.jsonl")

    def write_problems(self, problems: Sequence[Mapping[str, Any]]) -> None:
        """Atomically replace `problems.json`: what went wrong, each with its `kind` and `message`."""
        atomic.write_json(self.path / "problems.json", list(problems))

    def problems(self) -> list[dict[str, Any]]:
        """The content of `problems.json`; empty if it is not there. Raises `RunError` if it is damaged."""
        path = self.path / "problems.json"
        try:
            return json.loads(path.read_bytes()) if path.exists() else []
        except (OSError, ValueError) as error:
            raise RunError(f"cannot read {path}: {error}; remove it") from error

    def write_transcripts(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Atomically replace `transcripts.jsonl`."""
        atomic.write_text(self.path / "transcripts.jsonl", "".join(f"{lines.encode(row)}\n" for row in rows))

    def transcripts(self) -> list[dict[str, Any]]:
        """The lines of `transcripts.jsonl`."""
        return lines.read(self.path / "transcripts.jsonl")

    def log(self, message: str) -> None:
        """Append a line to `log.txt`, with the current time."""
        path = self.path / "log.txt"
        with atomic.naming(path), path.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(f"{now()} {message}\n")

    def write_rollouts(self, step: int, rows: Sequence[RolloutRow]) -> None:
        """Write `rollouts/step-NNNNNN.parquet`."""
        write_rollouts(self.path / "rollouts" / f"{step_name(step)}.parquet", rows)

    def save_clip(self, name: str, load: Callable[[], np.ndarray], rate: Hertz) -> str | None:
        """Copy the waveform that `load` returns, mono [samples] at `rate`, to `audio/`, once. Returns its path.

        None if `train.audio_copies` other clips are already there.
        """
        file = clips.save_clip(self.path / "audio", name, load, rate, self.config.train.audio_copies)
        return None if file is None else f"audio/{file}"

    def save_eval_clip(self, clip: Clip, rate: Hertz) -> str | None:
        """Like `save_clip`, for clips of evaluations: copied to `audio/evals/`, with its own limit."""
        limit = self.config.train.audio_copies
        file = clips.save_clip(self.path / "audio" / "evals", clip.name, lambda: clip.load(rate), rate, limit)
        return None if file is None else f"audio/evals/{file}"

    def save_answer(self, step: int, name: str, answer: Audio) -> str | None:
        """Copies an answer of a step's rollouts to `audio/answers/` and returns the path within the run.

        The newest `train.audio_copies` answers are kept; None when the step has more (`clips.save_answer`).
        """
        return self._copied_answer(_ANSWERS[0], step, name, answer)

    def save_eval_answer(self, step: int, name: str, answer: Audio) -> str | None:
        """As `save_answer`, for an evaluation: copied to `audio/evals/answers/`, which has a limit of its own."""
        return self._copied_answer(_ANSWERS[1], step, name, answer)

    def _copied_answer(self, place: str, step: int, name: str, answer: Audio) -> str | None:
        file = clips.save_answer(self.path / place, step, name, answer, self.config.train.audio_copies)
        return None if file is None else f"{place}/{file}"

    def save_eval(
        self, set_name: str, step: int, summary: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]
    ) -> Path:
        """Write `evals/step-NNNNNN-SET/` and return its path; see `antiphon.runs.evals.save_eval`."""
        return evals.save_eval(self.path / "evals", set_name, step, summary, rows)

    def evals(self) -> list[dict[str, Any]]:
        """The summaries of all evaluations, by step and set."""
        return evals.read_evals(self.path / "evals")

    def eval_rows(self, set_name: str, step: int) -> list[dict[str, Any]]:
        """The rows of one evaluation, as saved. Raises `RunError` if it does not exist."""
        return evals.read_rows(self.path / "evals", set_name, step)

    def best_step(self) -> int | None:
        """The best step by `eval.best`, excluding step 0; None before any evaluation."""
        return best.best_step(self.evals(), self.config.eval.best)

    @property
    def checkpoints(self) -> Checkpoints:
        return Checkpoints(self.path / "checkpoints")

    @property
    def plots(self) -> Path:
        """The folder for plots, which are redrawn from the other files."""
        return self.path / "plots"

    def truncate_after(self, step: int) -> None:
        """Remove everything after `step`: checkpoints, evaluations, rollouts, and lines of every `.jsonl`.

        Newest checkpoint first, so that the same call completes the work after a kill.
        """
        for checkpoint in reversed(self.checkpoints.list()):
            if checkpoint.step > step:
                atomic.remove_dir(checkpoint.path)
        for place in (self.path / "evals").glob("step-*"):
            if (evals.step_of_eval(place.name) or 0) > step:
                atomic.remove_dir(place)
        for place in _ANSWERS:
            for answered, path in clips.answer_copies(self.path / place):
                if answered > step:
                    path.unlink()
        for path in (self.path / "rollouts").glob("*.parquet"):
            if (step_of(path.stem) or 0) > step:
                path.unlink()
        for name in ("metrics.jsonl", "timings.jsonl", "gate.jsonl", "guard.jsonl"):
            lines.keep_to_step(self.path / name, step)

    def _write_status(self, status: Status) -> None:
        atomic.write_json(self.path / "status.json", asdict(status))


def _make_folder(output: Path, config: Config) -> Path:
    what = config.name or f"{word(config.algorithm_name)}-{word(config.model)}"
    stem = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{what}"
    try:
        output.mkdir(parents=True, exist_ok=True)
        for number in count(1):
            path = output / (stem if number == 1 else f"{stem}-{number}")
            try:
                path.mkdir()
                return path
            except FileExistsError:
                continue
    except OSError as error:
        reason = error.strerror or str(error)
        raise RunError(
            f"cannot make a run folder in {output}: {reason}; set output=FOLDER to a writable one"
        ) from error
    raise AssertionError("count() does not end")


def word(name: str) -> str:
    """The last part of a model's or algorithm's name, for a folder name: `student` of `builtin:student`."""
    return (
        re.sub(r"[^A-Za-z0-9.-]+", "-", re.split(r"[/:]", name.rstrip("/"))[-1].removesuffix(".py")).strip("-.")
        or "model"
    )
