"""What the end-to-end tests share: clips on disk, a small recipe, the command line in process, one training run."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import soundfile

from antiphon.cli.main import main
from antiphon.config import Config, load_config
from antiphon.data.corpora.sets import builtin_set
from antiphon.run.train import TrainResult, train

REPOSITORY = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "antiphon"]
"""The command line, for tests that need a process of their own."""


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The payload of `--json`, which must be the only line."""
        assert self.status == 0, self.err
        assert self.out.count("\n") == 1, self.out
        return json.loads(self.out)


Cli = Callable[..., Outcome]


@pytest.fixture(scope="session")
def cli() -> Cli:
    """Runs the command line in this process."""

    def run(*arguments: object) -> Outcome:
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as ended:
            main([str(one) for one in arguments])
        return Outcome(int(ended.value.code or 0), out.getvalue(), err.getvalue())

    return run


def write_set(path: Path, set_name: str, size: int, rate: int = 16000) -> Path:
    """The first clips of a built-in set as WAV files beside a JSONL file at `path`."""
    rows = []
    for example in builtin_set(set_name)[:size]:
        assert example.clip is not None
        soundfile.write(path.parent / f"{example.id}.wav", example.clip.load(rate), rate)
        rows.append({"id": example.id, "audio": f"{example.id}.wav", "text": example.text, "room": f"r{len(rows)}"})
    return write_rows(path, rows)


def write_rows(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="session")
def speech(tmp_path_factory) -> Path:
    """A folder with `train.jsonl`, eight clips that are hard for the student, and `dev.jsonl`, six easy ones."""
    folder = tmp_path_factory.mktemp("speech")
    write_set(folder / "train.jsonl", "digits-reverb", 8)
    write_set(folder / "dev.jsonl", "digits-clean", 6)
    return folder


@pytest.fixture(scope="session")
def recipe(speech) -> list[str]:
    """Overrides of a run that takes seconds: 6 steps of 4 prompts × 4 completions, a checkpoint every 2 steps."""
    return [
        "device=cpu",
        "threads=1",
        f"data.train={speech}/train.jsonl",
        f"data.eval={speech}/dev.jsonl",
        "eval.limit=2",
        "rollout.prompts_per_step=4",
        "rollout.group_size=4",
        "rollout.max_new_tokens=16",
        "optimizer.lr=2e-4",
        "train.steps=6",
        "train.save_every=2",
    ]


@pytest.fixture
def small(recipe, tmp_path) -> Callable[..., Config]:
    """The small recipe, with overrides, into a folder of the test's own."""

    def config(*overrides: str) -> Config:
        return load_config(None, [*recipe, f"output={tmp_path}/runs", *overrides])

    return config


@pytest.fixture(scope="session")
def trained(recipe, tmp_path_factory) -> TrainResult:
    """Sixteen steps on the eight clips, each seen at every step."""
    overrides = [
        f"output={tmp_path_factory.mktemp('trained')}/runs",
        "rollout.prompts_per_step=8",
        "rollout.group_size=8",
        "train.steps=16",
        "train.save_every=4",
        "train.keep_checkpoints=2",
        "eval.every=8",
        "eval.limit=6",
        "name=shared",
    ]
    return train(load_config(None, [*recipe, *overrides]), command=["antiphon", "train"])
