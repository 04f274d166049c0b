"""Ranks as threads of the test: `gather`, on which all else in these tests rests, by a barrier."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from antiphon.distributed.world import World


class ThreadWorld(World):
    def __init__(self, rank: int, size: int, values: list[Any], barrier: threading.Barrier) -> None:
        super().__init__(rank, size)
        self.values, self.barrier = values, barrier

    def gather(self, value: Any) -> list[Any]:
        self.values[self.rank] = value
        self.barrier.wait(10)
        found = list(self.values)
        self.barrier.wait(10)
        return found

    def gather_at_main(self, value: Any) -> list[Any] | None:
        found = self.gather(value)
        return found if self.is_main else None


def on_ranks(size: int, work: Callable[[World], Any]) -> list[Any]:
    """What `work` returns on each of `size` ranks."""
    values, barrier = [None] * size, threading.Barrier(size)
    with ThreadPoolExecutor(size) as pool:
        return list(pool.map(lambda rank: work(ThreadWorld(rank, size, values, barrier)), range(size)))
