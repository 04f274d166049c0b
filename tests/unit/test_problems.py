"""What a run says went wrong in it: while it trains, once of each kind, and in its folder at the end."""

import pytest
import torch

from antiphon.config import load_config
from antiphon.run.loop import Step
from antiphon.run.observers.problems import STEPS, Problems, what_went_wrong
from antiphon.runs import RunFolder

GOOD = {"lr": 1e-4, "grad_norm": 0.5, "zero_variance_share": 0.2, "advantage_share": 0.8, "truncated_share": 0.0}
CONSTANT = GOOD | {"zero_variance_share": 1.0, "advantage_share": 0.0, "grad_norm": 0.0}
NOT_KEPT = GOOD | {"advantage_share": 0.0, "grad_norm": 0.0}
PULLED = CONSTANT | {"grad_norm": 0.1}
"""By the KL alone."""
SFT = {"lr": 1e-4, "grad_norm": 0.5, "truncated_share": 0.0}


class Watched:
    """The observer of a run, and what it says."""

    def __init__(self, tmp_path, *overrides: str) -> None:
        self.said: list[str] = []
        self.run = RunFolder.create(load_config(None, [f"output={tmp_path}", *overrides]), ["antiphon"])
        self.observer = Problems(self.said.append)
        self.observer.started(self.run, 0)
        self.number = 0

    def steps(self, metrics: dict[str, float], count: int) -> list[str]:
        before = len(self.said)
        for _ in range(count):
            self.number += 1
            self.run.log_metrics(self.number, metrics)
            self.observer.stepped(Step(self.number, [], torch.zeros(8, 3), metrics, {}))
        return self.said[before:]


@pytest.fixture
def watched(tmp_path) -> Watched:
    return Watched(tmp_path)


@pytest.mark.parametrize(
    ("metrics", "why"),
    [
        (CONSTANT, "all completions of a prompt earned the same"),
        (PULLED, "all completions of a prompt earned the same"),
        (CONSTANT | {"truncated_share": 1.0}, "almost all answers were cut at rollout.max_new_tokens=64; raise it"),
        (NOT_KEPT, "lower algorithm.threshold"),
        (SFT | {"grad_norm": 0.0}, "the gradient was 0"),
        (GOOD | {"lr": 1e-13}, "raise optimizer.lr"),
    ],
)
def test_a_run_that_learns_nothing_says_so_after_three_steps_and_once(watched, metrics, why):
    assert not watched.steps(metrics, 2)
    said, *further = watched.steps(metrics, 1)
    assert said.startswith("step 3: nothing was learned so far")
    assert why in said
    assert len(further) == (metrics["truncated_share"] == 1)
    assert not watched.steps(metrics, 3 * STEPS)


@pytest.mark.parametrize("metrics", [GOOD, SFT, GOOD | {"zero_variance_share": 1.0}])
def test_a_run_that_learns_says_nothing(watched, metrics):
    """The last one compares with a greedy answer, so that equal rewards have advantages."""
    assert not watched.steps(metrics, 2 * STEPS)


def test_zero_variance_later_on_is_said_after_many_steps(watched):
    assert not watched.steps(GOOD, 3)
    nearly = CONSTANT | {"zero_variance_share": 0.95, "advantage_share": 0.05, "grad_norm": 0.1}
    assert not watched.steps(nearly, STEPS - 1)
    assert not watched.steps(GOOD, 1), "one step with reward variance begins the count anew"
    assert not watched.steps(nearly, STEPS - 1)
    (said,) = watched.steps(nearly, 1)
    for remedy in ("harder", "rollout.temperature", "rollout.group_size", "algorithm.dynamic_sampling"):
        assert remedy in said


def test_a_teacher_teaches_where_rewards_do_not(tmp_path):
    taught = Watched(tmp_path, "teacher=builtin:teacher")
    assert not taught.steps(PULLED, STEPS - 1)


@pytest.mark.parametrize(("share", "limit"), [(0.9, 5), (0.2, 64), (1.0, 1)])
def test_truncation_names_the_setting_to_raise(tmp_path, share, limit):
    watched = Watched(tmp_path, f"rollout.max_new_tokens={limit}")
    assert not watched.steps(GOOD | {"truncated_share": share}, 2)
    (said,) = watched.steps(GOOD | {"truncated_share": share}, 1)
    assert f"step 3: {share:.0%} of the completions were cut at rollout.max_new_tokens={limit}" in said
    assert "raise it" in said
    assert not watched.steps(GOOD | {"truncated_share": share}, STEPS)


def test_some_truncation_is_no_reason(watched):
    assert not watched.steps(GOOD | {"truncated_share": 0.15}, STEPS)
    assert not watched.steps(GOOD | {"truncated_share": 0.5}, 2)
    assert not watched.steps(GOOD, STEPS)


def kinds(rows, *overrides: str, skipped: int = 0) -> list[str]:
    return [one.kind for one in what_went_wrong(rows, load_config(None, overrides), skipped)]


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        ([], []),
        ([GOOD] * 5, []),
        ([SFT], []),
        ([CONSTANT], ["nothing_learned"]),
        ([CONSTANT] * 4 + [GOOD], []),
        ([CONSTANT] * 40 + [GOOD], ["zero_variance"]),
        ([NOT_KEPT] * 2, ["nothing_learned"]),
        ([GOOD | {"truncated_share": 0.1}], ["truncated"]),
        ([CONSTANT | {"truncated_share": 1.0}], ["nothing_learned", "truncated"]),
        ([GOOD | {"reward_dropped": 2.0, "samples": 8}, GOOD], ["reward_dropped"]),
        ([GOOD | {"truncated_share": None, "grad_norm": None, "reward_dropped": None}], []),
    ],
)
def test_the_summary_of_a_run(rows, found):
    assert kinds(rows) == found


def test_the_summary_counts_what_was_left_out():
    rows = [GOOD | {"reward_dropped": 2.0, "samples": 8}, GOOD | {"reward_dropped": 1.0, "samples": 8}]
    dropped, skipped = what_went_wrong(rows, load_config(), skipped=3)
    assert dropped.message.startswith("3 of 16 completions had no reward")
    assert skipped.message.startswith("3 rows of the data were skipped")


@pytest.mark.parametrize(("state", "told"), [("finished", 0), ("stopped", 0), ("interrupted", 1), ("failed", 1)])
def test_the_summary_is_kept_and_told(watched, state, told):
    """The terminal shows that of a run that ended by itself below its figures; else it is told at once."""
    watched.steps(CONSTANT, 2)
    watched.observer.finished(state, 2)
    (problem,) = watched.run.problems()
    assert problem["kind"] == "nothing_learned"
    assert [problem["message"] in one for one in watched.said] == [True] * told
    if not told:
        assert "in this run nothing was learned" in (watched.run.path / "log.txt").read_text()


def test_a_resumed_run_sums_up_all_of_its_steps(watched):
    watched.steps(CONSTANT, 2)
    resumed = Problems(watched.said.append)
    resumed.started(watched.run, 2)
    watched.run.log_metrics(3, GOOD)
    resumed.finished("finished", 3)
    assert watched.run.problems() == []
