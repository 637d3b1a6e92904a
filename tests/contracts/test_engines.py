"""What every registered engine promises."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from fedbbpt import registry
from fedbbpt.errors import ConfigError
from fedbbpt.types import Message

pytestmark = pytest.mark.parametrize("name", registry.names("engines"))
MESSAGE = Message(3, 5, {"w": np.ones(1000, np.float32)})


@pytest.fixture
def reopen(monkeypatch, tmp_path):
    """A method and its clients, which other processes find as well."""
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "engines" / "elsewhere")
    import frail

    return partial(frail.reopen, str(tmp_path))


@pytest.fixture
def engine(name, reopen):
    engine = registry.load("engines", name)(reopen)
    yield engine
    engine.close()


def test_every_client_once_and_in_order(engine, reopen):
    algorithm, clients = reopen()
    results = engine.map(partial(algorithm.local, MESSAGE), clients)
    assert [result.client for result in results] == ["client-003", "client-001", "client-002", "client-000"]


def test_no_clients_no_results(engine, reopen):
    assert list(engine.map(partial(reopen()[0].local, MESSAGE), [])) == []


def test_the_same_bits_round_after_round_and_after_an_end(engine, reopen):
    algorithm, clients = reopen()
    work = partial(algorithm.local, MESSAGE)
    for _ in range(2):
        for _ in range(2):
            there = [result.to_bytes() for result in engine.map(work, clients)]
            assert there == [work(client).to_bytes() for client in clients]
        engine.close()


def test_exceptions_pass_through(engine, reopen, tmp_path):
    algorithm, clients = reopen()
    (tmp_path / "client-002").write_text("err config")
    with pytest.raises(ConfigError, match="two settings contradict each other"):
        list(engine.map(partial(algorithm.local, MESSAGE), clients))
