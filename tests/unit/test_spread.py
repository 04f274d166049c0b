"""The warning that rewards tell nothing apart: when it comes, that it comes once, and when it must not."""

import torch

from antiphon.train.spread import STEPS, SpreadWatch

NONE, SOME = torch.zeros(8, 3), torch.ones(8, 3)


def warnings(watch: SpreadWatch, share: float, advantages: torch.Tensor, steps: int) -> list[str]:
    said = [watch({"zero_variance_share": share}, advantages) for _ in range(steps)]
    return [one for one in said if one]


def test_it_comes_once_after_many_constant_steps_and_says_what_to_change():
    watch = SpreadWatch()
    assert not warnings(watch, 1.0, NONE, STEPS - 1)
    (said,) = warnings(watch, 0.95, NONE, 3 * STEPS)
    for remedy in ("harder", "rollout.temperature", "rollout.group_size", "algorithm.dynamic_sampling"):
        assert remedy in said


def test_one_step_with_spread_begins_the_count_anew():
    watch = SpreadWatch()
    assert not warnings(watch, 1.0, NONE, STEPS - 1)
    assert not warnings(watch, 0.5, SOME, 1)
    assert not warnings(watch, 1.0, NONE, STEPS - 1)
    assert warnings(watch, 1.0, NONE, 1)


def test_constant_groups_that_teach_all_the_same_are_no_reason():
    """Against a greedy baseline, or over the whole batch, equal rewards may have advantages."""
    assert not warnings(SpreadWatch(), 1.0, SOME, 2 * STEPS)


def test_runs_without_rewards_are_never_warned():
    watch = SpreadWatch()
    assert not any(watch({"loss": 1.0}, NONE) for _ in range(2 * STEPS))
