"""The plot of a run, with rewards and without."""

import pytest

from antiphon.config import load_config
from antiphon.run.observers.plots import plot_run
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
