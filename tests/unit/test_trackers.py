"""Trackers: how a recipe names them, what is a curve, failures, and that a slow one slows no run."""

from __future__ import annotations

import ast
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tracked import (
    SUMMARY,
    make_run,
    make_step,
)

from antiphon.config import load_config
from antiphon.errors import ConfigError, MissingExtraError, RunError
from antiphon.run import trackers
from antiphon.run.observers import Observer
from antiphon.run.resume import _same_recipe
from antiphon.run.trackers.background import Background
from antiphon.run.trackers.figures import eval_scalars
from antiphon.run.trackers.load import TRACKER, load_trackers
from antiphon.run.trackers.state import TrackerState

LIBRARIES = ("mlflow", "tensorboard", "trackio", "wandb")


def test_every_figure_of_an_evaluation_is_a_curve():
    curves = eval_scalars("dev", {**SUMMARY, "reward": 0.5, "reward_ci": [0.25, 0.75], "ci_unit": "speaker"})
    assert curves.keys() == {
        *(f"eval/dev/{name}" for name in ("wer", "wer_low", "wer_high", "cer", "n")),
        *(f"eval/dev/{name}" for name in ("reward", "reward_low", "reward_high")),
        "eval/dev/groups/a/wer",
        "eval/dev/groups/a/n",
    }


class Slow(Observer):
    """Takes its time."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.steps = seconds, []

    def stepped(self, step: Any) -> None:
        time.sleep(self.seconds)
        self.steps.append(step.number)


def test_a_slow_tracker_slows_nothing_and_misses_nothing_that_the_end_can_wait_for(tmp_path):
    slow, run, notes = Slow(0.1), make_run(tmp_path, {"name": "slow"}), []
    tracker = Background("slow", slow, notes.append)
    began = time.perf_counter()
    tracker.started(run, 0)
    for number in range(1, 6):
        tracker.stepped(make_step(number))
    assert time.perf_counter() - began < 0.1
    tracker.finished("finished", 5)
    assert slow.steps == [1, 2, 3, 4, 5]
    assert notes == []


def test_a_tracker_that_falls_behind_says_so_once_and_the_end_waits_no_longer_than_it_should(tmp_path):
    slow, run, notes = Slow(0.6), make_run(tmp_path, {"name": "slow"}), []
    tracker = Background("slow", slow, notes.append, events=2, patience=0.5)
    tracker.started(run, 0)
    for number in range(1, 9):
        tracker.stepped(make_step(number))
    began = time.perf_counter()
    tracker.finished("finished", 8)
    assert time.perf_counter() - began < 0.7
    assert notes == [
        "the tracker slow falls behind by 2 events and will miss some",
        "the tracker slow is still busy 0.5 s after the run; what it has not sent is lost",
    ]


def test_a_tracker_that_fails_says_so_once_and_is_told_nothing_more(tmp_path):
    class Failing(Slow):
        def stepped(self, step: Any) -> None:
            super().stepped(step)
            raise ConnectionError("no route to host")

    failing, run, notes = Failing(0.0), make_run(tmp_path, {"name": "failing"}), []
    tracker = Background("failing", failing, notes.append)
    tracker.started(run, 0)
    for number in (1, 2, 3):
        tracker.stepped(make_step(number))
        time.sleep(0.05)
    tracker.finished("finished", 3)
    assert failing.steps == [1]
    assert len(notes) == 1
    assert notes[0].startswith("the tracker failing failed and is off for the rest of the run: ConnectionError: no rou")


def test_a_missing_library_names_its_extra(monkeypatch):
    assert TRACKER.names() == sorted(LIBRARIES)
    for name, library in {
        **{name: name for name in LIBRARIES},
        "tensorboard": "torch.utils.tensorboard.writer",
    }.items():
        monkeypatch.setitem(sys.modules, library, None)
        with pytest.raises(MissingExtraError, match=rf"install it with: pip install 'antiphon\[{name}\]'"):
            load_trackers([{"name": name}], print)


@pytest.mark.parametrize(
    ("track", "message"),
    [
        ([{"name": "wand"}], r"unknown tracker 'wand' in 'track\[0\]'; did you mean 'wandb'\?"),
        ([{"name": "tensorboard", "dri": "x"}], r"unknown key 'track\[0\].dri'; did you mean 'track\[0\].dir'\?"),
        ([{"name": "mlflow", "uri": "http://me:pw@host"}], r"'track\[0\].uri' .*must hold no password"),
        ([{"name": "mlflow"}, {"name": "mlflow"}], "'track' names 'mlflow' twice"),
        ([{"name": "mine.py:Mine", "color": "red"}], r"'mine.py:Mine' cannot be made of .*color"),
        ([{"name": "mine.py:Deaf"}], r"the tracker 'mine.py:Deaf' lacks started, "),
    ],
)
def test_a_tracker_that_does_not_fit_is_refused_before_anything_is_loaded(track, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(
        "from antiphon.run.observers import Observer\nclass Mine(Observer): ...\nclass Deaf: ...\n"
    )
    with pytest.raises(ConfigError, match=message):
        load_trackers(track, print)


def test_how_a_recipe_names_trackers():
    for written in ("wandb", "[wandb]", "{name: wandb}", "[{name: wandb}]"):
        assert load_config(None, [f"track={written}"]).track == [{"name": "wandb"}]
    assert load_config(None, ["track=null"]).track == []
    assert load_config(None, flags={"track": ["a", "b.py:C"]}).track == [{"name": "a"}, {"name": "b.py:C"}]
    with pytest.raises(ConfigError, match=r"'track' .*must be a tracker such as tensorboard or file\.py:name"):
        load_config(None, ["track=[3]"])


def test_trackers_do_not_make_another_recipe():
    plain, tracked = load_config(), load_config(None, ["track=wandb"])
    assert _same_recipe(plain, tracked)
    assert not _same_recipe(plain, load_config(None, ["seed=1"]))


def test_no_library_is_imported_before_it_is_used():
    for path in Path(trackers.__path__[0]).glob("*.py"):
        imports = [one for one in ast.parse(path.read_text()).body if isinstance(one, ast.Import | ast.ImportFrom)]
        names = {one.module or "" if isinstance(one, ast.ImportFrom) else one.names[0].name for one in imports}
        assert not {name.partition(".")[0] for name in names} & {*LIBRARIES, "torch"}, path


def test_a_damaged_state_names_its_file(tmp_path):
    (tmp_path / "wandb.json").write_text("{")
    with pytest.raises(RunError, match=r"wandb.json: .*; remove it to start"):
        TrackerState.load(tmp_path / "wandb.json")
