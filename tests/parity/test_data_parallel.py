"""Two ranks give the figures, the files and the weights of one process; a failure on one of them ends both."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import parallel_runs
import pytest
import torch
from safetensors.torch import load_file

from antiphon.config import load_config
from antiphon.run.train import train
from antiphon.runs.folder import RunFolder


def torchrun(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=600)


def assert_same_figures(row: dict[str, float], expected: dict[str, float]) -> None:
    """To 1e-5, but for what is rounding alone: log-probabilities of batches of other shapes differ by 1e-6 nats, and
    a loss is the small difference of large terms."""
    assert row.keys() == expected.keys()
    for name in row.keys() - {"engine_difference_max"}:
        tolerance = 1e-5 if name.endswith("loss") else 1e-6
        assert row[name] == pytest.approx(expected[name], rel=1e-5, abs=tolerance), (name, row["step"])


def run_in(folder: Path) -> RunFolder:
    (path,) = folder.iterdir()
    return RunFolder.open(path)


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("one")
    parallel_runs.train_all(folder)
    return folder


@dataclass(frozen=True)
class Job:
    """What two ranks left and said."""

    folder: Path
    process: subprocess.CompletedProcess[str]


KILLED = parallel_runs.SHARED | {
    "train.steps": 6,
    "train.save_every": 3,
    "data.eval": [],
    "reward": f"{parallel_runs.__file__}:killed_on_rank_1",
}


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Job:
    folder = tmp_path_factory.mktemp("two")
    arguments = [f"{key}={json.dumps(value)}" for key, value in (KILLED | {"output": "killed"}).items()]
    done = torchrun("-m", "antiphon", "train", *arguments, cwd=folder)
    assert done.returncode != 0
    assert [one.step for one in run_in(folder / "killed").checkpoints.list()] == [3], done.stderr
    return Job(folder, done)


@pytest.fixture(scope="module")
def two(killed: Job) -> Job:
    done = torchrun(parallel_runs.__file__, str(killed.folder), cwd=killed.folder)
    assert done.returncode != 0, "the last run fails"
    return Job(killed.folder, done)


def test_a_failing_rank_ends_all_with_its_error(two):
    run = run_in(two.folder / "failed")
    assert run.status.state == "failed"
    assert "rank 1: RewardError" in (run.status.error or "")
    assert "nothing to say" in (run.status.error or "")


@pytest.fixture(params=parallel_runs.RECIPES)
def pair(request: pytest.FixtureRequest, one: Path, two: Job) -> tuple[RunFolder, RunFolder]:
    assert (two.folder / request.param).exists(), two.process.stdout + two.process.stderr
    return run_in(one / request.param), run_in(two.folder / request.param)


def test_metrics_are_those_of_one_process(pair):
    alone, together = pair
    assert together.status.state == "finished"
    rows = list(zip(alone.metrics(), together.metrics(), strict=True))
    assert len(rows) == alone.config.train.steps
    for expected, row in rows:
        assert_same_figures(row, expected)
    assert any(row["grad_norm"] > 0 for _, row in rows)


def test_weights_are_those_of_one_process(pair):
    alone, together = (load_file(run.checkpoints.latest().path / "model.safetensors") for run in pair)
    assert alone.keys() == together.keys()

    def norm(tensors):
        return torch.cat([one.double().flatten() for one in tensors]).norm()

    assert norm(alone[name] - together[name] for name in alone) / norm(alone.values()) < 1e-5


def test_evaluations_are_those_of_one_process(pair):
    alone, together = pair
    summaries = [[{k: v for k, v in one.items() if k != "rtfx"} for one in run.evals()] for run in pair]
    assert summaries[0] == summaries[1]
    assert len(summaries[0]) == {"student": 2, "whisper": 1}.get(alone.config.name or "", 0)
    for one in alone.evals():
        assert alone.eval_rows(one["set"], one["step"]) == together.eval_rows(one["set"], one["step"])


def test_rollout_files_hold_the_completions_of_all_ranks(pair):
    import pyarrow.parquet as pq

    alone, together = pair
    for path in sorted((alone.path / "rollouts").iterdir()):
        expected, rows = (pq.read_table(run.path / "rollouts" / path.name).to_pylist() for run in pair)
        assert len(rows) == len(expected) > 0
        for row, other in zip(rows, expected, strict=True):
            for name in ("logprobs", "advantages"):
                assert row.pop(name) == pytest.approx(other.pop(name), rel=1e-4, abs=1e-5)
            assert row == other
    assert [path.name for path in sorted((together.path / "audio").iterdir())] == [
        path.name for path in sorted((alone.path / "audio").iterdir())
    ]


def test_a_killed_job_resumes_on_two_ranks_to_where_it_would_have_come(two, tmp_path):
    run = run_in(two.folder / "killed")
    assert run.status.state == "finished", two.process.stdout + two.process.stderr
    assert "resumed from step 3" in (run.path / "log.txt").read_text()
    assert two.process.stdout.count("6 steps in") == 1, "one rank speaks"
    train(load_config(None, KILLED | {"output": str(tmp_path / "whole")}, {}))
    for row, expected in zip(run.metrics(), run_in(tmp_path / "whole").metrics(), strict=True):
        assert_same_figures(row, expected)
