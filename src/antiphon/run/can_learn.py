"""Recipes from which nothing can be learned, refused before anything is loaded."""

from __future__ import annotations

from collections.abc import Sequence

from antiphon.config.rollout import Rollout
from antiphon.errors import ConfigError
from antiphon.rewards.sample import RewardFunction
from antiphon.train.objectives import Objective


def check_groups(objectives: Sequence[Objective], rollout: Rollout) -> None:
    """Raises `ConfigError` if a loss compares the completions of a prompt, and each prompt has one, or if truncated
    completions are penalized where no loss has a reward."""
    for one in objectives:
        needs = one.needs
        if needs.source == "samples" and rollout.group_size is not None and rollout.group_size < needs.least_group:
            raise ConfigError(
                f"'rollout.group_size' is {rollout.group_size}, and {one.name} compares a prompt's completions with "
                "each other, so it would learn nothing; set it to 2 or more, such as 8, or use an algorithm that "
                "compares across prompts (reinforce_pp with algorithm.group_baseline=false) or with the greedy "
                "answer (self_critical)"
            )
    if rollout.truncated == "penalize" and not any(one.needs.rewards for one in objectives):
        names = " + ".join(one.name for one in objectives)
        raise ConfigError(
            f"'rollout.truncated' is penalize, which lowers a reward, and {names} learns from none; use mask or keep"
        )


def check_rewards(objectives: Sequence[Objective], reward: RewardFunction) -> None:
    """Raises `ConfigError` if a loss learns only from rewards above the highest that `reward` can give."""
    for one in objectives:
        least = one.needs.least_reward
        if least is not None and reward.highest is not None and least > reward.highest:
            raise ConfigError(
                f"'algorithm.threshold' of {one.name} is {least:g}, and the reward {reward.name!r} is at most "
                f"{reward.highest:g}, so no completion would be kept; lower the threshold"
            )
