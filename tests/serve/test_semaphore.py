"""Tasks never hold more than the semaphore has, and are served in order."""

import asyncio

from fedbbpt.serve.semaphore import WeightedSemaphore


def _run(size: int, amounts: list[int]) -> tuple[list[int], int]:
    """The order in which tasks acquire these amounts, and the most that they held together."""
    order: list[int] = []
    held = [0, 0]  # now, at most

    async def task(semaphore: WeightedSemaphore, number: int, amount: int) -> None:
        async with semaphore.acquired(amount):
            order.append(number)
            held[0] += amount
            held[1] = max(held)
            await asyncio.sleep(0)
            held[0] -= amount

    async def all_tasks() -> None:
        semaphore = WeightedSemaphore(size)
        await asyncio.gather(*(task(semaphore, number, amount) for number, amount in enumerate(amounts)))

    asyncio.run(asyncio.wait_for(all_tasks(), 10))
    return order, held[1]


def test_tasks_never_hold_more_than_the_size() -> None:
    assert _run(10, [6, 6, 4, 5, 5, 1]) == ([0, 1, 2, 3, 4, 5], 10)


def test_small_amounts_do_not_overtake_a_large_one() -> None:
    assert _run(10, [5, 10, 1, 1]) == ([0, 1, 2, 3], 10)


def test_an_amount_above_the_size_runs_alone() -> None:
    assert _run(10, [1, 100, 1])[0] == [0, 1, 2]


def test_a_cancelled_waiter_holds_nothing() -> None:
    async def scene() -> bool:
        semaphore = WeightedSemaphore(10)
        async with semaphore.acquired(10):
            waiting = asyncio.create_task(semaphore.acquired(5).__aenter__())
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
        async with asyncio.timeout(1), semaphore.acquired(10):
            return True

    assert asyncio.run(scene())
