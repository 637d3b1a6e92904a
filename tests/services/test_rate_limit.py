import math

import pytest

from fedbbpt.services.rate_limit import AdaptiveLimiter


class Clock:
    """Seconds that pass when somebody waits."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def enter(one, clock=None, tokens=1):
    while wait := one.try_acquire(tokens):
        clock.now += wait


def test_requests_a_minute_are_those_of_the_last_sixty_seconds(clock):
    one = AdaptiveLimiter(10, requests_per_minute=3, clock=clock)
    started = clock.now
    times = []
    for _ in range(9):
        enter(one, clock)
        times.append(clock.now - started)
        one.release()
    assert [t // 60 for t in times] == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_tokens_a_minute_count_too(clock):
    one = AdaptiveLimiter(10, tokens_per_minute=100, clock=clock)
    started = clock.now
    for _ in range(3):
        enter(one, clock, 50)
        one.release()
    assert 60 <= clock.now - started < 61
    enter(one, clock, 500)  # more than a minute's worth goes alone
    assert clock.now - started >= 120


def test_all_wait_as_long_as_the_service_says(clock):
    one = AdaptiveLimiter(4, clock=clock)
    one.on_throttle(7.5)
    started = clock.now
    enter(one, clock)
    assert 7.5 <= clock.now - started < 8.1


def test_without_a_number_they_wait_twice_as_long_each_time_until_it_answers(clock):
    one = AdaptiveLimiter(4, clock=clock)
    waits = []
    for _ in range(3):
        one.on_throttle(None)
        started = clock.now
        enter(one, clock)
        waits.append(round(clock.now - started))
        one.release()
    one.on_success()
    one.on_throttle(None)
    started = clock.now
    enter(one, clock)
    assert [*waits, round(clock.now - started)] == [1, 2, 4, 1]


def test_half_as_many_when_it_is_busy_and_one_more_after_as_many_answers():
    one = AdaptiveLimiter(8)
    allowed = []
    for _ in range(4):
        one.on_throttle(0)
        allowed.append(int(one._allowed))
    for _ in range(3):
        one.on_success()
    allowed.append(int(one._allowed))
    for _ in range(100):
        one.on_success()
    assert [*allowed, one._allowed] == [4, 2, 1, 1, 2, 8]


def test_only_so_many_are_under_way():
    one = AdaptiveLimiter(2)
    assert [one.try_acquire(1) for _ in range(3)] == [0, 0, math.inf]
    one.release()
    assert [one.try_acquire(1) for _ in range(2)] == [0, math.inf]
