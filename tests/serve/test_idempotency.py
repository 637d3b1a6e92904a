"""A request repeated under its idempotency key is not computed again."""

import asyncio
from typing import Any

import pytest

from fedbbpt.serve import HttpError
from fedbbpt.serve.idempotency import IdempotencyCache


def _computing(log: list[bytes], response: bytes, pause: float = 0.0) -> Any:
    async def compute() -> bytes:
        log.append(response)
        await asyncio.sleep(pause)
        if response == b"fails":
            raise RuntimeError("no response")
        return response

    return compute


def _get(
    cache: IdempotencyCache, response: bytes, *, key: str = "k", request: bytes = b"body", pause: float = 0.0
) -> Any:
    return cache.get_or_compute(key, request, _computing([], response, pause))


def test_a_response_is_computed_once() -> None:
    log: list[bytes] = []

    async def scene() -> Any:
        cache = IdempotencyCache()
        return [await cache.get_or_compute("k", b"body", _computing(log, response)) for response in (b"1", b"2")]

    assert asyncio.run(scene()) == [(b"1", False), (b"1", True)]
    assert log == [b"1"]


def test_concurrent_requests_wait_for_the_first() -> None:
    log: list[bytes] = []

    async def scene() -> Any:
        cache = IdempotencyCache()
        computing = [_computing(log, b"%d" % i, 0.01) for i in range(5)]
        return await asyncio.gather(*(cache.get_or_compute("k", b"body", compute) for compute in computing))

    assert [response for response, _ in asyncio.run(scene())] == [b"0"] * 5
    assert log == [b"0"]


def test_a_cancelled_request_cancels_no_other() -> None:
    async def scene() -> Any:
        cache = IdempotencyCache()
        first, second = (asyncio.create_task(_get(cache, b"1", pause=0.01)) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        return await second

    assert asyncio.run(scene()) == (b"1", True)


@pytest.mark.parametrize("pause", [0.0, 0.01])
def test_the_same_key_with_another_body_is_refused(pause: float) -> None:
    async def scene() -> None:
        cache = IdempotencyCache()
        first = asyncio.create_task(_get(cache, b"1", pause=pause))
        await asyncio.sleep(0.002)
        with pytest.raises(HttpError, match="another request") as refused:
            await _get(cache, b"2", request=b"other")
        assert refused.value.status == 422
        assert await first == (b"1", False)

    asyncio.run(scene())


def test_a_failure_is_shared_by_concurrent_requests_and_not_cached() -> None:
    log: list[bytes] = []

    async def scene() -> Any:
        cache = IdempotencyCache()
        requests = (cache.get_or_compute("k", b"body", _computing(log, b"fails")) for _ in range(3))
        failed = await asyncio.gather(*requests, return_exceptions=True)
        return failed, await cache.get_or_compute("k", b"body", _computing(log, b"1"))

    failed, later = asyncio.run(scene())
    assert [type(error) for error in failed] == [RuntimeError] * 3
    assert later == (b"1", False)
    assert log == [b"fails", b"1"]


def test_the_oldest_are_dropped_by_number_and_by_size() -> None:
    async def hits(cache: IdempotencyCache, keys: str) -> str:
        return "".join(["-+"[(await _get(cache, b"12345", key=key))[1]] for key in keys])

    assert asyncio.run(hits(IdempotencyCache(max_entries=2), "abacbc")) == "--+--+"
    assert asyncio.run(hits(IdempotencyCache(max_bytes=12), "abcac")) == "----+"


def test_a_long_key_is_refused() -> None:
    with pytest.raises(HttpError, match="255"):
        asyncio.run(_get(IdempotencyCache(), b"1", key="k" * 256))
