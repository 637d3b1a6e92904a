"""Idempotency keys: a request repeated under its key gets the first response, without being computed again."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from hashlib import sha256
from typing import Any, NamedTuple

from fedbbpt.serve import MIB, HttpError

MAX_KEY_LENGTH = 255
Compute = Callable[[], Coroutine[Any, Any, bytes]]


class CachedResponse(NamedTuple):
    """The response to the request under a key, or the task that computes it."""

    digest: bytes  # sha256 of the request
    response: "asyncio.Task[bytes]"


class IdempotencyCache:
    """The latest responses by idempotency key: at most `max_entries`, of at most `max_bytes` together.

    The same request that arrives while the first is computed waits for its response. A failure goes to all who wait
    for it, and is not cached.
    """

    def __init__(self, max_entries: int = 10_000, max_bytes: int = 256 * MIB) -> None:
        self._max_entries, self._free_bytes = max_entries, max_bytes
        self._running: dict[str, CachedResponse] = {}
        self._done: OrderedDict[str, CachedResponse] = OrderedDict()

    async def get_or_compute(self, key: str, request: bytes, compute: Compute) -> tuple[bytes, bool]:
        """The response to a request, and whether it is that of an earlier one.

        Raises:
            HttpError: the key is too long, or an earlier request under it was another one.
        """
        if len(key) > MAX_KEY_LENGTH:
            raise HttpError(
                400, f"an Idempotency-Key may have at most {MAX_KEY_LENGTH} characters", code="idempotency_key"
            )
        digest = sha256(request).digest()
        cached = self._running.get(key) or self._done.get(key)
        if cached is None:
            task = asyncio.create_task(compute())
            self._running[key] = CachedResponse(digest, task)
            task.add_done_callback(lambda _: self._finish(key))
            return await asyncio.shield(task), False
        if cached.digest != digest:
            raise HttpError(
                422, "another request was sent under this Idempotency-Key; use a new one", code="key_reused"
            )
        if key in self._done:
            self._done.move_to_end(key)
        return await asyncio.shield(cached.response), True

    def _finish(self, key: str) -> None:
        cached = self._running.pop(key)
        if cached.response.cancelled() or cached.response.exception() is not None:
            return
        self._done[key] = cached
        self._free_bytes -= len(cached.response.result())
        while len(self._done) > self._max_entries or self._free_bytes < 0:
            _, oldest = self._done.popitem(last=False)
            self._free_bytes += len(oldest.response.result())
