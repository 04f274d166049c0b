"""A budget shared by all requests, such as seconds of decoded audio; requests beyond it wait."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Budget:
    """A limited amount to share, within one event loop."""

    def __init__(self, size: float) -> None:
        self.size = size
        self.taken = 0.0
        self._turn = asyncio.Lock()
        self._left = asyncio.Event()

    @asynccontextmanager
    async def take(self, amount: float) -> AsyncIterator[None]:
        """Hold `amount` in the block, in order of arrival; more than the total waits until nothing else is held."""
        async with self._turn:
            while self.taken and self.taken + amount > self.size:
                self._left.clear()
                await self._left.wait()
            self.taken += amount
        try:
            yield
        finally:
            self.taken -= amount
            self._left.set()
