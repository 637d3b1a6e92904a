"""Which backward passes are kept, and for how long."""

from types import SimpleNamespace

import pytest

from fedbbpt.serve import HttpError, activation_cache
from fedbbpt.serve.activation_cache import MAX_SIZE, ActivationCache, size_of
from fedbbpt.serve.split_body import MAX_REQUEST_SIZE


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until a test sets its `now`, in seconds."""
    made = SimpleNamespace(now=0.0)
    made.monotonic = lambda: made.now
    monkeypatch.setattr(activation_cache, "time", made)
    return made


def put(cache, name, samples=1):
    cache.make_room(name, (samples, 1, 1))
    cache.put(name, SimpleNamespace(name=name), (samples, 1, 1))


def names(cache):
    return list(cache._entries)


def test_size_decides_how_many_there_are():
    cache = ActivationCache(max_size=10, grace=0)
    for name, samples, left in (
        ("a", 4, ["a"]),
        ("b", 5, ["a", "b"]),
        ("c", 2, ["b", "c"]),
        ("b", 8, ["c", "b"]),
        ("d", 50, ["d"]),
        ("e", 1, ["e"]),
    ):
        put(cache, name, samples)
        assert names(cache) == left


def test_room_is_made_before_there_is_more():
    cache = ActivationCache(max_size=10, grace=0)
    put(cache, "a", 5)
    put(cache, "b", 4)
    assert cache.make_room("c", (6, 1, 1))
    assert names(cache) == ["b"]
    assert cache.make_room("b", (1, 1, 1))
    assert names(cache) == []


def test_the_young_need_not_make_room(clock):
    cache = ActivationCache(max_entries=2, max_size=10, grace=5)
    put(cache, "a", 5)
    assert not cache.make_room("b", (6, 1, 1))
    put(cache, "b", 1)
    assert not cache.make_room("c", (1, 1, 1))
    assert names(cache) == ["a", "b"]
    clock.now = 10
    assert cache.make_room("c", (1, 1, 1))
    assert names(cache) == ["b"]


@pytest.mark.parametrize("shape", [(128, 26 + 4, 384), (16, 197 + 4, 384), (4, 197 + 4, 1024)])
def test_what_is_usual_fits_several_times(shape):
    assert 8 * size_of(shape) <= MAX_SIZE


@pytest.mark.parametrize("shape", [(128, 197 + 4, 1024), (128, 26 + 100, 384), (1, 4096, 384)])
def test_what_is_large_passes_alone(shape):
    assert size_of(shape) <= MAX_REQUEST_SIZE


def test_the_oldest_goes_first():
    cache = ActivationCache(max_entries=2, grace=0)
    for name in ("a", "b", "a", "c"):
        put(cache, name)
    assert len(cache) == 2
    with pytest.raises(HttpError, match="is not known"):
        cache.take("b", (1, 1, 1))
    assert cache.take("a", (1, 1, 1)).name == "a"


def test_what_nobody_comes_back_for_goes_too(clock):
    cache = ActivationCache(ttl=5)
    put(cache, "a")
    clock.now = 10
    with pytest.raises(HttpError):
        cache.take("a", (1, 1, 1))
    assert not len(cache)


def test_gradients_of_another_shape_leave_it():
    cache = ActivationCache()
    put(cache, "a", 2)
    with pytest.raises(HttpError, match="gradients"):
        cache.take("a", (1, 1, 1))
    cache.take("a", (2, 1, 1))
