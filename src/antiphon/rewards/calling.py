"""One call of a reward function: its time, its tries, and its result as a checked `Reward`."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import math
import numbers
from collections.abc import Callable, Mapping
from typing import Any

from antiphon.config.rollout import RewardLimits
from antiphon.errors import RewardError, describe
from antiphon.rewards.sample import Failure, Sample
from antiphon.types import Reward

RETRY_PAUSE = 0.5
"""Seconds before the second try of a call; twice as long before each further one."""


async def call(function: Callable[[], Any], limits: RewardLimits, what: str) -> Any:
    """What `function` returns, awaited where it can be, after at most `limits.retries` further tries.

    Raises `RewardError` that begins with `what` when the last try raises or takes too long; one that the function
    itself raises is not tried again. Only a call that awaits can be stopped for its time.
    """
    for tries in range(1, limits.retries + 2):
        try:
            return await _call_once(function, limits.timeout_s)
        except RewardError:
            raise
        except (Exception, SystemExit) as error:
            if tries > limits.retries:
                often = f" in each of {tries} tries" if tries > 1 else ""
                raise RewardError(
                    f"{what}{often}: {describe(error)}; make it handle this, or let reward_limits retry it or drop "
                    "the sample"
                ) from error
        await asyncio.sleep(RETRY_PAUSE * 2 ** (tries - 1))
    raise AssertionError("the last try returns or raises")


async def _call_once(function: Callable[[], Any], seconds: float | None) -> Any:
    try:
        async with asyncio.timeout(seconds) as deadline:
            value = function()
            return await value if inspect.isawaitable(value) else value
    except TimeoutError as error:
        if not deadline.expired():
            raise
        raise TimeoutError(f"no answer within {seconds:g} s (reward_limits.timeout_s)") from error


def failed(error: RewardError, limits: RewardLimits) -> Failure:
    """`error` as the failure of a sample that is dropped. Raises it instead where failures stop the run."""
    if limits.on_failure == "error":
        raise error
    return Failure(str(error))


def to_reward(value: Any, reward: str, sample: Sample) -> Reward:
    """A function's result for `sample`: a number, a `Reward`, or a mapping with "score" and further numbers.

    Entries of a mapping that are no numbers are left out. Raises `RewardError` naming the reward and the sample
    for anything else, and for a value or a part that is not finite.
    """

    def number(said: Any, what: str) -> float:
        plain = _plain(said)
        if not isinstance(plain, numbers.Real):
            raise RewardError(
                f"reward {reward!r} returned {what}{said!r} for sample {sample.title}, which is not a number; "
                "return an int or a float"
            )
        if not math.isfinite(plain):
            raise RewardError(
                f"reward {reward!r} returned {what or 'a value of '}{plain!r} for sample {sample.title}; "
                "every number must be finite: handle this case in the reward"
            )
        return float(plain)

    parts: Mapping[Any, Any] = {}
    if isinstance(value, Mapping) and "score" in value:
        parts = {k: v for k, v in value.items() if k != "score" and isinstance(_plain(v), numbers.Real)}
        value = value["score"]
    elif isinstance(value, Reward):
        value, parts = value.value, value.parts
    return Reward(number(value, ""), {str(k): number(v, f"the part {k!r} of ") for k, v in parts.items()})


def _plain(value: Any) -> Any:
    """A numpy or torch scalar as Python's own."""
    if hasattr(value, "item"):
        with contextlib.suppress(ValueError, RuntimeError):
            return value.item()
    return value
