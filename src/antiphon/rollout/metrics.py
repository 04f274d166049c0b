"""Metrics of one rollout: rewards, lengths, finish reasons, log-probabilities."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from antiphon.types import Group


def rollout_metrics(groups: Sequence[Group], step: int = 0) -> dict[str, float]:
    """Metrics of a rollout before `step` (0-based).

    `tokens_mean` is in tokens, `surprisal` the mean −log p of an action in nats, and `staleness` how many steps old the
    sampled weights were, on average over completions.
    """
    completions = [completion for group in groups for completion in group.completions]
    if not completions:
        return {}
    tokens = sum(completion.length for completion in completions)
    return {
        **_reward_metrics(groups),
        "samples": len(completions),
        "tokens_mean": tokens / len(completions),
        "truncated_share": sum(c.finish_reason == "length" for c in completions) / len(completions),
        "empty_share": sum(answer.empty for group in groups for answer in group.answers) / len(completions),
        "surprisal": -sum(sum(c.logprobs) for c in completions) / sum(len(c.logprobs) for c in completions),
        "audio_seconds": sum(group.prompt.seconds for group in groups),
        "staleness": step - sum(completion.version for completion in completions) / len(completions),
    }


def _reward_metrics(groups: Sequence[Group]) -> dict[str, float]:
    """Empty if nothing was rewarded. A completion whose reward was dropped counts only in `reward_dropped`."""
    rewarded = [[reward for reward in group.rewards if reward is not None] for group in groups]
    values = [np.array([reward.value for reward in rewards]) for rewards in rewarded if rewards]
    if not values:
        return {}
    parts: dict[str, list[float]] = defaultdict(list)
    for rewards in rewarded:
        for reward in rewards:
            for name, value in reward.parts.items():
                parts[name].append(value)
    together = np.concatenate(values)
    return {
        "reward_mean": float(together.mean()),
        "reward_std": float(together.std()),
        "reward_best_mean": float(np.mean([one.max() for one in values])),
        "reward_group_std": float(np.mean([one.std() for one in values])),
        "reward_dropped": float(sum(reward is None for group in groups for reward in group.rewards)),
        **{f"reward/{name}": float(np.mean(of_part)) for name, of_part in sorted(parts.items())},
    }
