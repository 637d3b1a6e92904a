"""Replies that are said again."""

import asyncio
from typing import Any

import pytest

from fedbbpt.serve import Refusal
from fedbbpt.serve.idempotency import Once


def _computing(log: list[bytes], reply: bytes, pause: float = 0.0) -> Any:
    async def compute() -> bytes:
        log.append(reply)
        await asyncio.sleep(pause)
        if reply == b"fails":
            raise RuntimeError("no reply")
        return reply

    return compute


def test_a_reply_is_computed_once() -> None:
    log: list[bytes] = []

    async def ask() -> Any:
        once = Once()
        return [await once("k", b"body", _computing(log, reply)) for reply in (b"1", b"2")]

    assert asyncio.run(ask()) == [(b"1", False), (b"1", True)]
    assert log == [b"1"]


def test_who_asks_meanwhile_waits_for_the_first() -> None:
    log: list[bytes] = []

    async def ask() -> Any:
        once = Once()
        return await asyncio.gather(*(once("k", b"body", _computing(log, b"%d" % i, 0.01)) for i in range(5)))

    assert [reply for reply, _ in asyncio.run(ask())] == [b"0"] * 5
    assert log == [b"0"]


def test_who_gives_up_stops_nobody_else() -> None:
    async def ask() -> Any:
        once = Once()
        first, second = (asyncio.create_task(once("k", b"body", _computing([], b"1", 0.01))) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        return await second

    assert asyncio.run(ask()) == (b"1", True)


@pytest.mark.parametrize("pause", [0.0, 0.01])
def test_the_same_key_with_another_body_is_refused(pause: float) -> None:
    async def ask() -> None:
        once = Once()
        first = asyncio.create_task(once("k", b"body", _computing([], b"1", pause)))
        await asyncio.sleep(0.002)
        with pytest.raises(Refusal, match="another request") as refused:
            await once("k", b"other", _computing([], b"2"))
        assert refused.value.status == 422
        assert await first == (b"1", False)

    asyncio.run(ask())


def test_a_failure_is_shared_by_those_who_wait_and_not_kept() -> None:
    log: list[bytes] = []

    async def ask() -> Any:
        once = Once()
        asked = (once("k", b"body", _computing(log, b"fails")) for _ in range(3))
        failed = await asyncio.gather(*asked, return_exceptions=True)
        return failed, await once("k", b"body", _computing(log, b"1"))

    failed, later = asyncio.run(ask())
    assert [type(one) for one in failed] == [RuntimeError] * 3
    assert later == (b"1", False)
    assert log == [b"fails", b"1"]


def test_the_oldest_are_forgotten_by_number_and_by_size() -> None:
    async def ask(once: Once, *keys: str) -> list[bool]:
        return [(await once(key, b"body", _computing([], b"12345")))[1] for key in keys]

    assert asyncio.run(ask(Once(entries=2), "a", "b", "a", "c", "b", "c")) == [False, False, True, False, False, True]
    assert asyncio.run(ask(Once(size=12), "a", "b", "c", "a", "c")) == [False, False, False, False, True]


def test_an_endless_key_is_refused() -> None:
    with pytest.raises(Refusal, match="255"):
        asyncio.run(Once()("k" * 256, b"body", _computing([], b"1")))
