"""A budget that all requests share, such as seconds of decoded audio: those that would exceed it wait."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Budget:
    """An amount that may be in use at once. It belongs to one event loop."""

    def __init__(self, size: float) -> None:
        self.size = size
        self.taken = 0.0
        self._turn = asyncio.Lock()
        self._left = asyncio.Event()

    @asynccontextmanager
    async def take(self, amount: float) -> AsyncIterator[None]:
        """Hold `amount` inside, in order of arrival; what is larger than all there is waits until nobody else is in."""
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
