"""One call of a reward function: its timeout and retries, and its result as a checked `Reward`."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import math
import numbers
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from antiphon.config.rollout import RewardLimits
from antiphon.errors import RewardError, describe
from antiphon.rewards.sample import Failure, Sample
from antiphon.rewards.threads import Worker, watched
from antiphon.types import Reward

LARGEST = 1e9
"""Bound of a reward. Beyond it fp32 tells rewards that differ by 50 no longer apart, and squares overflow soon."""
RETRY_PAUSE = 0.5
"""Seconds before the first retry of a call; doubles with each further one."""


def worker_for(function: Callable[..., Any], limits: RewardLimits) -> Worker | None:
    """The thread in which to call `function`; None for an async function, and where there is no time limit."""
    functions = (function, getattr(function, "__call__", None))  # noqa: B004
    if limits.timeout_s is None or any(inspect.iscoroutinefunction(one) for one in functions):
        return None
    return Worker()


async def call(function: Callable[[], Any], limits: RewardLimits, what: str, worker: Worker | None = None) -> Any:
    """Call `function`, with at most `limits.retries` retries, and await its result if it is awaitable.

    With a `worker` the call is made in its thread, so that one that sleeps or loops can time out too.
    Raises `RewardError` that begins with `what` if the last try raises or times out. A `RewardError` from the function
    itself is raised at once.
    """
    for tries in range(1, limits.retries + 2):
        try:
            return await _call_once(function, limits.timeout_s, what, worker)
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


async def _call_once(function: Callable[[], Any], seconds: float | None, what: str, worker: Worker | None) -> Any:
    if worker is None:
        value = function()
    else:
        async with worker.turn:
            value = await _within(worker.run(function), seconds)
    if inspect.iscoroutine(value) and seconds is not None:
        value = watched(value, what, seconds)
    return await _within(value, seconds) if inspect.isawaitable(value) else value


async def _within(awaitable: Awaitable[Any], seconds: float | None) -> Any:
    deadline = asyncio.timeout(seconds)
    try:
        async with deadline:
            return await awaitable
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
    other result, for a value or part that is not finite, and for a value beyond `LARGEST`.
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
    parts = {str(k): number(v, f"the part {k!r} of ") for k, v in parts.items()}
    return within_bounds(Reward(number(value, ""), parts), reward, sample)


def within_bounds(earned: Reward, reward: str, sample: Sample) -> Reward:
    """`earned`. Raises `RewardError` naming the reward and the sample if its value is beyond `LARGEST`."""
    if abs(earned.value) > LARGEST:
        raise RewardError(
            f"reward {reward!r} returned a value of {earned.value:g} for sample {sample.title}, beyond ±{LARGEST:g}; "
            "training computes with 7 digits: scale it, or clip it"
        )
    return earned


def _plain(value: Any) -> Any:
    """A numpy or torch scalar as a Python number; any other value unchanged."""
    if hasattr(value, "item"):
        with contextlib.suppress(ValueError, RuntimeError):
            return value.item()
    return value
