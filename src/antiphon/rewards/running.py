"""Runs rewards on all samples of a step."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterable, Sequence
from concurrent.futures import wait
from functools import cache
from typing import Any, TypeVar

from antiphon.errors import RewardError
from antiphon.rewards.sample import Failure, RewardFunction, Sample
from antiphon.rewards.threads import abandon, overdue
from antiphon.types import Reward

WATCH_EVERY = 0.25
"""Seconds between two looks at whether an async function holds up the others."""
T = TypeVar("T")


def score_all(
    reward: RewardFunction, samples: Sequence[Sample], dropped: Callable[[str], None] = lambda message: None
) -> list[Reward | None]:
    """The reward of each sample, in order; None for a dropped sample, with the reason passed to `dropped`.

    Works with and without a running event loop. All calls run in one background loop for the whole process, so that
    resources of a user's function (an HTTP client) still work at the next step.

    Raises `RewardError` naming the reward and the sample if a failure is set to stop the run, if no reward applies to a
    sample, or if all samples fail.
    """
    scored = run_async(reward.score(samples))
    for sample, one in zip(samples, scored, strict=True):
        if one is None:
            raise RewardError(
                f"no reward applies to sample {sample.title}: {reward.name!r} returned None; "
                "return a number for it, or add a reward that covers it"
            )
    failures = [one.message for one in scored if isinstance(one, Failure)]
    if failures and len(failures) == len(samples):
        raise RewardError(f"all {len(samples)} samples of a step would be dropped. The first: {failures[0]}")
    for message in failures:
        dropped(message)
    return [one if isinstance(one, Reward) else None for one in scored]


def run_async(coroutine: Coroutine[Any, Any, T]) -> T:
    """The coroutine's result, from the background loop; Ctrl-C cancels it.

    Raises `RewardError` if an async function holds up the loop, and with it all others, beyond its time limit. The
    loop's thread is left behind, and the next call has a new one.
    """
    loop, thread = _loop()
    future = asyncio.run_coroutine_threadsafe(coroutine, loop)
    try:
        while not wait([future], timeout=WATCH_EVERY).done:
            if what := overdue(thread):
                _loop.cache_clear()
                loop.call_soon_threadsafe(loop.stop)
                abandon(thread)
                raise RewardError(
                    f"{what}: no answer within reward_limits.timeout_s, and it holds up all other calls; an async "
                    "function must await what takes long: make it a plain function, which has a thread of its own, "
                    "or use asyncio.to_thread"
                )
        return future.result()
    except KeyboardInterrupt:
        future.cancel()
        raise


@cache
def _loop() -> tuple[asyncio.AbstractEventLoop, threading.Thread]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="antiphon-rewards", daemon=True)
    thread.start()
    return loop, thread


async def together(coroutines: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """All results, in order. The first failure cancels the others and is raised unchanged."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(coroutine) for coroutine in coroutines]
    except ExceptionGroup as failures:
        first = failures.exceptions[0]
        raise first from first.__cause__
    return [task.result() for task in tasks]
