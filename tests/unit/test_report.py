"""The plot of a run, with rewards and without."""

import math

import numpy as np
import pytest

from antiphon.config import load_config
from antiphon.run.observers import plots
from antiphon.run.observers.plots import Plots, plot_run, running_mean
from antiphon.runs import RunFolder


@pytest.fixture
def run(tmp_path) -> RunFolder:
    return RunFolder.create(load_config(None, [f"output={tmp_path}"]), ["antiphon", "train"])


def test_a_run_without_steps_has_no_plot(run):
    assert plot_run(run) is None


@pytest.mark.parametrize("key", ["reward_mean", "loss"])
def test_reward_or_loss_is_drawn(run, key):
    for step in range(1, 13):
        run.log_metrics(step, {key: 1 / step, "tokens_mean": 3.0})
    path = plot_run(run)
    assert path is not None
    assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("key", ["reward_mean", "loss"])
@pytest.mark.parametrize(
    "values",
    [[math.inf, 1.0, 0.5], [math.nan] * 3, [0.5, None, 0.25, *[1.0] * 12], [None]],
    ids=["the first", "all", "one of many", "the only one"],
)
def test_figures_that_are_null_are_gaps(run, key, values):
    for step, value in enumerate(values, 1):
        run.log_metrics(step, {key: value} if step != 2 or key == "loss" else {"tokens_mean": 1.0})
    assert plot_run(run) is not None


def test_evaluations_without_a_figure_or_an_interval_are_drawn_all_the_same(run):
    run.log_metrics(1, {"loss": 1.0})
    for step, (wer, ci) in enumerate([(0.5, [0.4, 0.6]), (None, None), (0.25, [None, None]), (math.nan, None)]):
        run.save_eval("dev", step, {"wer": wer, "ci": ci, "n": 3}, [{"id": "a"}])
    assert plot_run(run) is not None


def test_the_running_mean_is_over_what_is_there():
    values = np.array([1.0, np.nan, 3.0, np.inf, np.nan, 5.0])
    np.testing.assert_array_equal(running_mean(values, 2), [1.0, 3.0, 3.0, np.nan, 5.0])


def test_a_picture_that_cannot_be_drawn_fails_no_run(run, monkeypatch):
    def broken(run):
        raise ValueError("no ink")

    monkeypatch.setattr(plots, "plot_run", broken)
    observer = Plots()
    observer.started(run, 0)
    observer.finished("finished", 1)
    assert "training.png could not be drawn: ValueError: no ink" in (run.path / "log.txt").read_text()
