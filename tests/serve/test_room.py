"""What is taken together never is more than there is room for, and nobody is passed over."""

import asyncio

from fedbbpt.serve.room import Room


def _order(size: int, amounts: list[int]) -> tuple[list[int], int]:
    """In which order those who come in this order get in, and the most that they had together."""
    order: list[int] = []
    inside = [0, 0]  # now, and at most

    async def one(room: Room, number: int, amount: int) -> None:
        async with room.taken(amount):
            order.append(number)
            inside[0] += amount
            inside[1] = max(inside)
            await asyncio.sleep(0)
            inside[0] -= amount

    async def everybody() -> None:
        room = Room(size)
        await asyncio.gather(*(one(room, number, amount) for number, amount in enumerate(amounts)))

    asyncio.run(asyncio.wait_for(everybody(), 10))
    return order, inside[1]


def test_together_they_never_have_more_than_there_is() -> None:
    assert _order(10, [6, 6, 4, 5, 5, 1]) == ([0, 1, 2, 3, 4, 5], 10)


def test_a_large_one_is_not_overtaken_by_small_ones() -> None:
    assert _order(10, [5, 10, 1, 1]) == ([0, 1, 2, 3], 10)


def test_what_is_larger_than_all_is_let_in_alone() -> None:
    assert _order(10, [1, 100, 1])[0] == [0, 1, 2]


def test_who_gives_up_waiting_takes_nothing() -> None:
    async def scene() -> bool:
        room = Room(10)
        async with room.taken(10):
            waiting = asyncio.create_task(room.taken(5).__aenter__())
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
        async with asyncio.timeout(1), room.taken(10):
            return True

    assert asyncio.run(scene())
