"""What every registered engine promises that simulates clients."""

from pathlib import Path

import numpy as np
import pytest

from fedbbpt import registry
from fedbbpt.engines import Call
from fedbbpt.errors import ConfigError
from fedbbpt.testing import check_engine
from fedbbpt.types import Message

SIMULATING = [name for name in registry.names("engines") if registry.load("engines", name).simulates]
pytestmark = pytest.mark.parametrize("name", SIMULATING)
CALL = Call("train", Message(3, 5, {"w": np.ones(1000, np.float32)}))


@pytest.fixture
def crashing(monkeypatch):
    """An algorithm and its clients, which other processes find as well."""
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "engines" / "elsewhere")
    import crashing_algorithm

    return crashing_algorithm


@pytest.fixture
def engine(name, crashing, tmp_path):
    engine = registry.load("engines", name)(crashing.Hosts(tmp_path), crashing.new_memories())
    yield engine
    engine.close()


def test_every_client_once_and_in_order(engine, crashing):
    assert [reply.client for reply in engine.send(CALL, crashing.CLIENTS)] == crashing.CLIENTS


def test_exceptions_pass_through(engine, crashing, tmp_path):
    (tmp_path / "client-002").write_text("err config")
    with pytest.raises(ConfigError, match="two settings contradict each other"):
        list(engine.send(CALL, crashing.CLIENTS))


def test_the_contract(name):
    check_engine(registry.load("engines", name), rounds=2)  # an engine starts anew in each
