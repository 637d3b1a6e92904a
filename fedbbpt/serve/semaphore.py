"""A weighted semaphore: bounds what all requests together hold in memory."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class WeightedSemaphore:
    """A total of `size` units that tasks acquire and release, first come, first served.

    A task that asks for more than `size` gets all of it, and so runs alone.
    """

    def __init__(self, size: int) -> None:
        self._size = self._free = size
        self._queue, self._released = asyncio.Lock(), asyncio.Event()

    @asynccontextmanager
    async def acquired(self, amount: int) -> AsyncIterator[None]:
        """Waits until `amount` units are free, and holds them inside the context."""
        amount = min(amount, self._size)
        async with self._queue:
            while self._free < amount:
                self._released.clear()
                await self._released.wait()
            self._free -= amount
        try:
            yield
        finally:
            self._free += amount
            self._released.set()
