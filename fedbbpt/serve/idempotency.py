"""Idempotency keys: what was answered under a key is said again, not computed again."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from hashlib import sha256
from typing import Any, NamedTuple

from fedbbpt.serve import MIB, Refusal

LONGEST_KEY = 255
Compute = Callable[[], Coroutine[Any, Any, bytes]]


class Kept(NamedTuple):
    """What was asked under a key, and the reply to it, or the task that is at it."""

    asked: bytes  # sha256
    reply: "asyncio.Task[bytes]"


class Once:
    """The latest replies by their keys: at most `entries`, of at most `size` bytes together.

    Whoever asks the same while it is being computed waits for it. A failure is shared by those who wait for it, and not
    kept.
    """

    def __init__(self, entries: int = 10_000, size: int = 256 * MIB) -> None:
        self._most, self._room = entries, size
        self._running: dict[str, Kept] = {}
        self._done: OrderedDict[str, Kept] = OrderedDict()

    async def __call__(self, key: str, asked: bytes, compute: Compute) -> tuple[bytes, bool]:
        """The reply, and whether it was computed for another request.

        Raises:
            Refusal: the key is too long, or something else was asked under it.
        """
        if len(key) > LONGEST_KEY:
            raise Refusal(400, f"an Idempotency-Key has at most {LONGEST_KEY} characters", code="idempotency_key")
        digest = sha256(asked).digest()
        kept = self._running.get(key) or self._done.get(key)
        if kept is None:
            task = asyncio.create_task(compute())
            self._running[key] = Kept(digest, task)
            task.add_done_callback(lambda _: self._finished(key))
            return await asyncio.shield(task), False
        if kept.asked != digest:
            raise Refusal(422, "another request was sent under this Idempotency-Key; use a new one", code="key_reused")
        if key in self._done:
            self._done.move_to_end(key)
        return await asyncio.shield(kept.reply), True

    def _finished(self, key: str) -> None:
        kept = self._running.pop(key)
        if kept.reply.cancelled() or kept.reply.exception() is not None:
            return
        self._done[key] = kept
        self._room -= len(kept.reply.result())
        while len(self._done) > self._most or self._room < 0:
            _, oldest = self._done.popitem(last=False)
            self._room += len(oldest.reply.result())
