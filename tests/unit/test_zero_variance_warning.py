"""The warning that rewards do not tell completions apart: when it comes, that it comes once, and when it must not."""

import torch

from antiphon.run.loop import Step
from antiphon.run.observers.variance import STEPS, ZeroVarianceWarning

NONE, SOME = torch.zeros(8, 3), torch.ones(8, 3)


class Watched:
    """The observer, and what it says."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.observer = ZeroVarianceWarning(self.said.append)

    def steps(self, metrics: dict[str, float], advantages: torch.Tensor, count: int) -> list[str]:
        before = len(self.said)
        for number in range(1, count + 1):
            self.observer.stepped(Step(number, [], advantages, metrics, {}))
        return self.said[before:]


def constant(share: float) -> dict[str, float]:
    return {"zero_variance_share": share}


def test_it_comes_once_after_many_constant_steps_and_says_what_to_change():
    watched = Watched()
    assert not watched.steps(constant(1.0), NONE, STEPS - 1)
    (said,) = watched.steps(constant(0.95), NONE, 3 * STEPS)
    for remedy in ("harder", "rollout.temperature", "rollout.group_size", "algorithm.dynamic_sampling"):
        assert remedy in said


def test_one_step_with_reward_variance_begins_the_count_anew():
    watched = Watched()
    assert not watched.steps(constant(1.0), NONE, STEPS - 1)
    assert not watched.steps(constant(0.5), SOME, 1)
    assert not watched.steps(constant(1.0), NONE, STEPS - 1)
    assert watched.steps(constant(1.0), NONE, 1)


def test_zero_variance_groups_that_teach_all_the_same_are_no_reason():
    """Against a greedy baseline, or over the whole batch, equal rewards may have advantages."""
    assert not Watched().steps(constant(1.0), SOME, 2 * STEPS)


def test_runs_without_rewards_are_never_warned():
    assert not Watched().steps({"loss": 1.0}, NONE, 2 * STEPS)
