"""Sweeps: the grid, the table, what is done already, and how many run at a time."""

from dataclasses import dataclass

import pytest

from antiphon import Recipe, TrainConfig, TrainingGroup
from antiphon.api import sweep
from antiphon.api.sweep import SweepResult, SweepRow
from antiphon.errors import ConfigError, RunError
from antiphon.run.components import pinned
from antiphon.run.train import TrainResult
from antiphon.runs.folder import RunFolder

GRID = {"optimizer.lr": [1e-4, 3e-4], "seed": [1, 2]}


@pytest.fixture
def group(tmp_path, monkeypatch) -> TrainingGroup:
    """A sweep whose runs take no time: the WER is 0.1 times the seed, and larger with the lower rate."""
    base = TrainConfig("builtin:student", "a.jsonl", Recipe("grpo", seed=5), eval_dataset="dev.jsonl", output=tmp_path)

    def train(self, resume=None, quiet=False):
        config = self.config()
        run = RunFolder.open(tmp_path / resume) if resume else RunFolder.create(pinned(config), ["test"])
        trained.append((config.name, bool(resume)))
        if config.name in broken:
            run.update("failed", 3)
            raise RunError("out of memory")
        wer = 0.1 * config.seed + (0.05 if config.optimizer.lr < 2e-4 else 0)
        run.save_eval("dev", 100, {"wer": wer, "ci": None, "n": 1}, [{"id": "a"}])
        run.update("finished", 100)
        return TrainResult(run, 100, 1.0, None)

    monkeypatch.setattr("antiphon.runs.folder.describe", lambda command: {})
    monkeypatch.setattr(TrainConfig, "train", train)
    trained.clear()
    broken.clear()
    return TrainingGroup(base, GRID)


trained: list[tuple[str, bool]] = []
broken: set[str] = set()


def test_every_combination_is_trained_and_the_best_comes_first(group):
    result = group.run()
    assert len(trained) == 4, "the grid's seeds, not the base's"
    assert [row.value for row in result.rows] == pytest.approx([0.1, 0.15, 0.2, 0.25])
    assert result.best.settings == {"optimizer.lr": 3e-4, "seed": 1}
    assert result.best.run.config.optimizer.lr == 3e-4
    table = str(result).splitlines()
    assert table[0].split() == ["optimizer.lr", "seed", "wer", "run"]
    assert table[1].split()[:3] == ["0.0003", "1", "0.1000"]
    assert "lr-0.0003-seed-1" in table[1]


def test_what_is_finished_is_not_trained_again(group):
    first = group.run()
    trained.clear()
    again = group.run()
    assert trained == []
    assert [row.run for row in again.rows] == [row.run for row in first.rows]


def test_what_failed_is_a_row_and_is_continued_the_next_time(group):
    broken.add("lr-0.0001-seed-1")
    result = group.run()
    assert [row.value is None for row in result.rows] == [False] * 3 + [True]
    assert result.rows[-1].error == "out of memory"
    assert str(result).splitlines()[-1].split()[:3] == ["0.0001", "1", "failed"]
    broken.clear()
    trained.clear()
    assert group.run().rows[1].value == pytest.approx(0.15)
    assert trained == [("lr-0.0001-seed-1", True)]


def test_a_measure_of_which_more_is_better_turns_the_table(group):
    group.metric = "n"
    assert group.run().metric == "n"
    rows = [SweepRow({"seed": 1}, None, None, "no"), SweepRow({"seed": 2}, None, None, "no")]
    with pytest.raises(ConfigError, match="no run of the sweep has a wer; the first failed: no"):
        _ = SweepResult(rows, "wer").best


@dataclass(eq=False)
class Launched:
    """A launched run that is done the third time one asks."""

    config: TrainConfig
    asked: int = 0

    def done(self):
        self.asked += 1
        return self.asked > 2

    def result(self):
        running.remove(self)
        return self.config.train()

    def stop(self):
        stopped.append(self)


running: list[Launched] = []
stopped: list[Launched] = []


def test_as_many_run_side_by_side_as_asked_for(group, monkeypatch):
    most = []

    def start(self, resume=None):
        running.append(Launched(self))
        most.append(len(running))
        return running[-1]

    monkeypatch.setattr(TrainConfig, "launch", start)
    monkeypatch.setattr(sweep, "POLL", 0)
    result = group.run(parallel=3)
    assert max(most) == 3
    assert len(result.rows) == len(most) == 4
    assert result.best.value == pytest.approx(0.1)


def test_an_interruption_stops_those_that_run(group, monkeypatch):
    monkeypatch.setattr(TrainConfig, "launch", lambda self, resume=None: Launched(self))
    monkeypatch.setattr(sweep.time, "sleep", lambda seconds: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        group.run(parallel=2)
    assert len(stopped) == 2


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ({}, "the grid has no values; give a list"),
        ({"seed": []}, "the grid has no values of seed"),
        ({"optimizer.lr": "1e-4"}, "the grid has no values of optimizer.lr"),
        ({"sed": [1, 2]}, "unknown key 'sed'.* did you mean 'seed'"),
    ],
)
def test_a_grid_that_is_none_is_refused(grid, message):
    config = TrainConfig("builtin:student", "a.jsonl", eval_dataset="dev.jsonl")
    with pytest.raises(ConfigError, match=message):
        TrainingGroup(config, grid).run()


def test_a_sweep_needs_something_to_compare():
    with pytest.raises(ConfigError, match="give its base an eval_dataset"):
        TrainingGroup(TrainConfig("builtin:student", "a.jsonl"), {"seed": [1]}).run()
