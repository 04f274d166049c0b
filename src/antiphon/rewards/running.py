"""Rewards run, checked and added up."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Coroutine, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from antiphon.errors import RewardError
from antiphon.rewards.sample import RewardFunction, Sample
from antiphon.types import Reward

T = TypeVar("T")


class WeightedSum:
    """value = Σ weight · value over the rewards that apply to a sample.

    Parts: each reward's own value, unweighted, under its label, and its parts as "label/part". The label is
    the reward's name, of a user's function the function's name, numbered from the second on ("wer", "wer_2").
    """

    def __init__(self, terms: Sequence[tuple[RewardFunction, float]]) -> None:
        self._terms = [(label, *term) for label, term in zip(_labels(terms), terms, strict=True)]
        self.name = " + ".join(reward.name for reward, _ in terms)

    async def score(self, samples: Sequence[Sample]) -> list[Reward | None]:
        columns = await together(score_checked(reward, samples) for _, reward, _ in self._terms)
        return [self._add(row) for row in zip(*columns, strict=True)]

    def _add(self, rewards: Sequence[Reward | None]) -> Reward | None:
        parts: dict[str, float] = {}
        value = 0.0
        for (label, _, weight), reward in zip(self._terms, rewards, strict=True):
            if reward is not None:
                value += weight * reward.value
                parts[label] = reward.value
                parts.update({f"{label}/{part}": number for part, number in reward.parts.items()})
        return Reward(value, parts) if parts else None


def _labels(terms: Sequence[tuple[RewardFunction, float]]) -> list[str]:
    labels: list[str] = []
    for reward, _ in terms:
        plain = reward.name.rpartition(":")[2]
        label, number = plain, 1
        while label in labels:
            number += 1
            label = f"{plain}_{number}"
        labels.append(label)
    return labels


async def score_checked(reward: RewardFunction, samples: Sequence[Sample]) -> list[Reward | None]:
    """`reward.score`, with its result checked.

    Raises `RewardError` naming the reward and the sample when a value or a part is not a finite number, or
    when there are more or fewer results than samples.
    """
    rewards = await reward.score(samples)
    if len(rewards) != len(samples):
        raise RewardError(
            f"reward {reward.name!r} returned {len(rewards)} results for {len(samples)} samples; return one each"
        )
    for sample, scored in zip(samples, rewards, strict=True):
        numbers = {} if scored is None else {"a value": scored.value, **scored.parts}
        for name, number in numbers.items():
            if not isinstance(number, int | float) or not math.isfinite(number):
                what = name if name == "a value" else f"the part {name!r}"
                raise RewardError(
                    f"reward {reward.name!r} returned {what} of {number!r} for sample {sample.title}; "
                    "every number must be finite: handle this case in the reward"
                )
    return rewards


def score_all(reward: RewardFunction, samples: Sequence[Sample]) -> list[Reward]:
    """The reward of each sample, in order; for synchronous callers, with or without a running event loop.

    Raises `RewardError` naming the reward and the sample when it fails, returns what is not a finite number,
    or does not apply to a sample (nothing else would reward it).
    """
    rewards = _run(score_checked(reward, samples))
    for sample, scored in zip(samples, rewards, strict=True):
        if scored is None:
            raise RewardError(
                f"no reward applies to sample {sample.title}: {reward.name!r} returned None; "
                "return a number for it, or add a reward that covers it"
            )
    return [scored for scored in rewards if scored is not None]


def _run(coroutine: Coroutine[Any, Any, T]) -> T:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(coroutine)
    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(asyncio.run, coroutine).result()


async def together(coroutines: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """All results, in order. The first failure cancels the rest and is raised as itself."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(coroutine) for coroutine in coroutines]
    except ExceptionGroup as failures:
        first = failures.exceptions[0]
        raise first from first.__cause__
    return [task.result() for task in tasks]
