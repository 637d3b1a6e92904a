"""Workers that die: what it costs, and whom."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedbbpt.algorithms import ClientSizes, ServerState
from fedbbpt.errors import BackendError
from fedbbpt.run.client_pool import MeteredClientPool
from fedbbpt.types import Update, Usage

KILLED = "killed by SIGKILL"


@pytest.fixture
def pool(crashing: Any, clients: list[str], tmp_path: Path) -> Callable[..., Any]:
    """`pool(engine)`: the clients of a round."""

    def open_pool(engine: Any) -> MeteredClientPool:
        algorithm = crashing.Crashing(str(tmp_path))
        algorithm.template = lambda handler, message: Update("", {"w": np.zeros(1000, np.float32)}, 0, 0.0, Usage())
        sizes = [ClientSizes(client, 2, 2, 2) for client in clients]
        return MeteredClientPool(engine, algorithm, sizes, ServerState(0, {}))

    return open_pool


def _bits(replies: Any) -> list[bytes]:
    return [reply.to_bytes() for reply in replies]


def test_what_a_dead_worker_had_changed_is_as_if_it_had_not_been(crashing, make, clients, order) -> None:
    engine, dropped = make(), {}
    list(engine.send(crashing.COUNT, clients))
    order("client-001", "die once")
    list(engine.send(crashing.COUNT, clients, dropped.__setitem__))
    assert dropped.keys() == {"client-001"}
    counts = {reply.client: reply.payload["count"].tolist() for reply in engine.send(crashing.COUNT, clients)}
    assert counts == {client: [2 if client == "client-001" else 3] for client in clients}


@pytest.mark.parametrize(("what", "how"), [("die once", KILLED), ("leave", "exit code 3")])
def test_one_that_dies_costs_its_own_part_of_the_round_and_is_back_in_the_next(
    crashing, make, here, clients, order, what, how
) -> None:
    engine, dropped = make(), {}
    order("client-001", what)
    replies = list(engine.send(crashing.FIRST, clients, dropped.__setitem__))
    assert dropped == {"client-001": how}
    order("client-001", "")
    assert _bits(replies) == _bits(here(crashing.FIRST, [client for client in clients if client != "client-001"]))
    dropped.clear()
    assert _bits(engine.send(crashing.SECOND, clients, dropped.__setitem__)) == _bits(here(crashing.SECOND))
    assert not dropped


def test_what_is_lost_is_not_counted_and_the_rest_of_the_round_goes_without_it(crashing, make, pool, order) -> None:
    order("client-002", "die once")
    round_ = pool(make())
    replies = round_.send("train", crashing.FIRST.message)
    assert round_.dropped == {"client-002": KILLED}
    assert round_.usage == Usage(6, 3)
    assert round_.bytes_up == sum(map(len, _bits(replies)))
    assert round_.bytes_down == 3 * len(crashing.FIRST.message.to_bytes())
    again = round_.send("train", crashing.FIRST.message)
    assert [reply.client for reply in again] == [reply.client for reply in replies]
    assert round_.exchanges == 2


def test_a_round_without_anybody_left_is_an_error(crashing, make, pool, clients, order) -> None:
    engine = make()
    for client in clients:
        order(client, "die once")
    with pytest.raises(BackendError, match=f"all clients of round 1 dropped out .*{KILLED}.*continue with --resume"):
        pool(engine).send("train", crashing.FIRST.message)
    assert len(pool(engine).send("train", crashing.FIRST.message)) == 4


def test_a_score_is_asked_for_once_more_and_never_missing(crashing, make, here, clients, order, log) -> None:
    engine = make()
    order("client-001", "die once")
    there = list(engine.send(crashing.EVALUATE, clients))
    assert len(log()) == 4
    assert _bits(there) == _bits(here(crashing.EVALUATE))
    order("client-001", "die")
    with pytest.raises(BackendError, match=f"client-001 ended twice .*{KILLED}.*--resume"):
        list(engine.send(crashing.EVALUATE, clients))


def test_a_worker_that_dies_while_it_opens_costs_nobody_anything(crashing, make, clients, order) -> None:
    engine, dropped = make(), {}
    order("opening", "die once")
    assert len(list(engine.send(crashing.FIRST, clients, dropped.__setitem__))) == 4
    assert not dropped


def test_workers_that_cannot_open_are_given_up(crashing, make, clients, order) -> None:
    engine = make()
    order("opening", "die")
    with pytest.raises(BackendError, match=rf"before they have opened .*\(the last: {KILLED}\)"):
        list(engine.send(crashing.FIRST, clients))


def test_a_worker_that_dies_between_two_rounds_is_replaced(crashing, make, clients, log, gone) -> None:
    engine, dropped = make(), {}
    list(engine.send(crashing.FIRST, clients))
    before = {pid for _, pid in log()}
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    assert gone(*before)
    assert len(list(engine.send(crashing.SECOND, clients, dropped.__setitem__))) == 4
    assert not dropped
    assert not before & {pid for _, pid in log()}
