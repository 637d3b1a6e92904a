"""What every registered engine promises."""

from operator import attrgetter

import pytest

from fedbbpt import registry

pytestmark = pytest.mark.parametrize("name", registry.names("engines"))


def make(name):
    return registry.load("engines", name)()


def test_every_client_once_and_in_order(name, make_client):
    clients = [make_client(f"client-{i:03d}", train=1) for i in (3, 1, 2, 0)]
    results = make(name).map(attrgetter("id"), clients)
    assert list(results) == ["client-003", "client-001", "client-002", "client-000"]


def test_no_clients_no_results(name):
    assert list(make(name).map(attrgetter("id"), [])) == []


def test_an_engine_serves_round_after_round(name, clients):
    engine = make(name)
    first = list(engine.map(attrgetter("id"), clients))
    assert list(engine.map(attrgetter("id"), clients)) == first


def test_exceptions_pass_through(name, clients):
    with pytest.raises(AttributeError, match="no_such_thing"):
        list(make(name).map(attrgetter("no_such_thing"), clients))
