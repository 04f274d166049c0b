"""One call of a reward function: its timeout and retries, and its result as a checked `Reward`."""

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
"""Seconds before the first retry of a call; doubles with each further one."""


async def call(function: Callable[[], Any], limits: RewardLimits, what: str) -> Any:
    """Call `function`, with at most `limits.retries` retries, and await its result if it is awaitable.

    Raises `RewardError` that begins with `what` if the last try raises or times out. A `RewardError` from the function
    itself is raised at once. Only async functions can time out.
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
    """`error` as the `Failure` of a dropped sample. Raises it instead if failures stop the run."""
    if limits.on_failure == "error":
        raise error
    return Failure(str(error))


def to_reward(value: Any, reward: str, sample: Sample) -> Reward:
    """The `Reward` from a function's result: a number, a `Reward`, or a mapping with "score" and further numbers.

    Entries of a mapping that are not numbers are ignored. Raises `RewardError` naming the reward and the sample for any
    other result, and for a value or part that is not finite.
    """

    def number(returned: Any, what: str) -> float:
        plain = _plain(returned)
        if not isinstance(plain, numbers.Real):
            raise RewardError(
                f"reward {reward!r} returned {what}{returned!r} for sample {sample.title}, which is not a number; "
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
    """A numpy or torch scalar as a Python number; any other value unchanged."""
    if hasattr(value, "item"):
        with contextlib.suppress(ValueError, RuntimeError):
            return value.item()
    return value
