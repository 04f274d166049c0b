"""Reward functions. A built-in reward is a module here with `Settings` and `build`."""

from antiphon.rewards.load import load_reward
from antiphon.rewards.running import score_all
from antiphon.rewards.sample import RewardFunction, Sample, group_samples

__all__ = ["RewardFunction", "Sample", "group_samples", "load_reward", "score_all"]
