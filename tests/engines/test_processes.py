"""Clients that are killed, fail or are interrupted, in processes that the tests can see."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedbbpt.algorithms import ClientSizes, ServerState
from fedbbpt.engines import Call
from fedbbpt.engines.processes import Processes
from fedbbpt.engines.serial import Serial
from fedbbpt.errors import BackendError, ConfigError, UnknownName
from fedbbpt.run.client_pool import MeteredClientPool
from fedbbpt.types import Message, Update, Usage

SETTINGS = {"seed": 5, "parameters": {"w": np.linspace(0, 1, 1000, dtype=np.float32)}}
FIRST, SECOND = (Call("train", Message(round_, **SETTINGS)) for round_ in (1, 2))
EVALUATE, COUNT = (Call(handler, Message(1, **SETTINGS)) for handler in ("evaluate", "count"))
KILLED = "killed by SIGKILL"


@pytest.fixture
def make(crashing: Any, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """`make(workers=2)`: an engine, which ends with the test."""
    made: list[Processes] = []

    def make(workers: int = 2) -> Processes:
        made.append(Processes(crashing.Hosts(tmp_path), crashing.new_memories(), workers=workers))
        return made[-1]

    yield make
    for engine in made:
        engine.close()


@pytest.fixture
def here(crashing: Any, tmp_path: Path) -> Callable[..., list[Any]]:
    """`here(call)`: the replies of this process."""
    engine = Serial(crashing.Hosts(tmp_path), crashing.new_memories())
    return lambda call, clients=crashing.CLIENTS: list(engine.send(call, clients))


@pytest.fixture
def clients(crashing: Any) -> list[str]:
    """All clients, in no order that sorting would give."""
    return list(crashing.CLIENTS)


@pytest.fixture
def pool(crashing: Any, clients: list[str], tmp_path: Path) -> Callable[..., Any]:
    """`pool(engine)`: the clients of a round."""

    def open_pool(engine: Any) -> MeteredClientPool:
        algorithm = crashing.Crashing(str(tmp_path))
        algorithm.template = lambda handler, message: Update("", {"w": np.zeros(1000, np.float32)}, 0, 0.0, Usage())
        sizes = [ClientSizes(client, 2, 2, 2) for client in clients]
        return MeteredClientPool(engine, algorithm, sizes, ServerState(0, {}))

    return open_pool


@pytest.fixture
def order(tmp_path: Path) -> Callable[[str, str], None]:
    """`order("client-001", "die once")`: what will happen to it."""

    def order(name: str, what: str) -> None:
        (tmp_path / name).write_text(what)

    return order


@pytest.fixture
def log(tmp_path: Path) -> Callable[[], list[tuple[str, int]]]:
    """Who was worked for in which process since it was last asked."""

    def read() -> list[tuple[str, int]]:
        text = (tmp_path / "log").read_text()
        (tmp_path / "log").unlink()
        return [(client, int(pid)) for client, pid in map(str.split, text.splitlines())]

    return read


def _bits(replies: Any) -> list[bytes]:
    return [reply.to_bytes() for reply in replies]


@pytest.mark.parametrize("workers", [1, 2, 7])
def test_the_bits_and_the_order_are_those_of_this_process(make, here, clients, log, workers) -> None:
    engine = make(workers)
    for call in (FIRST, EVALUATE):
        there = list(engine.send(call, clients))
        pids = {pid for _, pid in log()}
        assert os.getpid() not in pids
        assert len(pids) <= workers
        assert _bits(there) == _bits(here(call))
        log()


def test_a_host_is_opened_once_and_kept(make, clients, log) -> None:
    engine = make(workers=1)
    for call in (FIRST, SECOND):
        list(engine.send(call, clients))
    assert len({pid for _, pid in log()}) == 1


def test_memories_go_wherever_their_client_is_served(make, clients, log) -> None:
    engine, served = make(workers=2), set[int]()
    for turn in range(1, 9):
        replies = engine.send(COUNT, clients if turn % 2 else clients[::-1])
        assert [reply.payload["count"].tolist() for reply in replies] == 4 * [[turn]]
        served |= {pid for client, pid in log() if client == clients[0]}
        if turn == 4:
            engine.close()  # the memories outlive the processes
    assert len(served) > 1
    assert engine._memories[clients[0]].durable.keys() == {"tuned/count"}


def test_what_a_dead_worker_had_changed_is_as_if_it_had_not_been(make, clients, order) -> None:
    engine, dropped = make(), {}
    list(engine.send(COUNT, clients))
    order("client-001", "die once")
    list(engine.send(COUNT, clients, dropped.__setitem__))
    assert dropped.keys() == {"client-001"}
    counts = {reply.client: reply.payload["count"].tolist() for reply in engine.send(COUNT, clients)}
    assert counts == {client: [2 if client == "client-001" else 3] for client in clients}


@pytest.mark.parametrize(("what", "how"), [("die once", KILLED), ("leave", "exit code 3")])
def test_one_that_dies_costs_its_own_part_of_the_round_and_is_back_in_the_next(
    make, here, clients, order, what, how
) -> None:
    engine, dropped = make(), {}
    order("client-001", what)
    replies = list(engine.send(FIRST, clients, dropped.__setitem__))
    assert dropped == {"client-001": how}
    order("client-001", "")
    assert _bits(replies) == _bits(here(FIRST, [client for client in clients if client != "client-001"]))
    dropped.clear()
    assert _bits(engine.send(SECOND, clients, dropped.__setitem__)) == _bits(here(SECOND))
    assert not dropped


def test_a_reply_that_cannot_be_read_is_lost(make, clients, monkeypatch) -> None:
    engine, dropped, read = make(workers=1), {}, []

    def from_bytes(content: bytes) -> Any:
        read.append(content)
        return unspoiled(content[:-1] if len(read) == 2 else content)

    unspoiled = Update.from_bytes
    monkeypatch.setattr(Update, "from_bytes", from_bytes)
    replies = list(engine.send(FIRST, clients, dropped.__setitem__))
    assert dropped.keys() == {"client-001"}
    assert "cannot be read" in dropped["client-001"]
    assert len(replies) == 3


def test_what_is_lost_is_not_counted_and_the_rest_of_the_round_goes_without_it(make, pool, order) -> None:
    order("client-002", "die once")
    round_ = pool(make())
    replies = round_.send("train", FIRST.message)
    assert round_.dropped == {"client-002": KILLED}
    assert round_.usage == Usage(6, 3)
    assert round_.bytes_up == sum(map(len, _bits(replies)))
    assert round_.bytes_down == 3 * len(FIRST.message.to_bytes())
    again = round_.send("train", FIRST.message)
    assert [reply.client for reply in again] == [reply.client for reply in replies]
    assert round_.exchanges == 2


def test_a_round_without_anybody_left_is_an_error(make, pool, clients, order) -> None:
    engine = make()
    for client in clients:
        order(client, "die once")
    with pytest.raises(BackendError, match=f"all clients of round 1 dropped out .*{KILLED}.*continue with --resume"):
        pool(engine).send("train", FIRST.message)
    assert len(pool(engine).send("train", FIRST.message)) == 4


def test_a_score_is_asked_for_once_more_and_never_missing(make, here, clients, order, log) -> None:
    engine = make()
    order("client-001", "die once")
    there = list(engine.send(EVALUATE, clients))
    assert len(log()) == 4
    assert _bits(there) == _bits(here(EVALUATE))
    order("client-001", "die")
    with pytest.raises(BackendError, match=f"client-001 ended twice .*{KILLED}.*--resume"):
        list(engine.send(EVALUATE, clients))


def test_a_worker_that_dies_while_it_opens_costs_nobody_anything(make, clients, order) -> None:
    engine, dropped = make(), {}
    order("opening", "die once")
    assert len(list(engine.send(FIRST, clients, dropped.__setitem__))) == 4
    assert not dropped


def test_workers_that_cannot_open_are_given_up(make, clients, order) -> None:
    engine = make()
    order("opening", "die")
    with pytest.raises(BackendError, match=rf"before they have opened .*\(the last: {KILLED}\)"):
        list(engine.send(FIRST, clients))


def test_a_worker_that_dies_between_two_rounds_is_replaced(make, clients, log, gone) -> None:
    engine, dropped = make(), {}
    list(engine.send(FIRST, clients))
    before = {pid for _, pid in log()}
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    assert gone(*before)
    assert len(list(engine.send(SECOND, clients, dropped.__setitem__))) == 4
    assert not dropped
    assert not before & {pid for _, pid in log()}


@pytest.mark.parametrize(
    ("which", "kind", "said"),
    [
        ("config", ConfigError, "two settings contradict each other"),
        ("name", UnknownName, "unknown engine 'seriol'. Did you mean 'serial'? Known: serial."),
        ("memory", MemoryError, "4 GB"),
        ("end", EOFError, "of a file"),
        ("local", RuntimeError, "OfNobody: cannot travel"),
    ],
)
@pytest.mark.parametrize("where", ["client-001", "opening"])
def test_errors_come_as_they_were_raised(make, clients, order, which, kind, said, where) -> None:
    engine = make()
    order(where, f"err {which}")
    with pytest.raises(kind) as caught:
        list(engine.send(FIRST, clients, {}.__setitem__))
    assert type(caught.value) is kind
    assert str(caught.value) == said
    ours = which in ("config", "name")
    assert ours or "in _obey" in caught.value.__notes__[0]  # of a bug, where it was
    order(where, "")
    assert len(list(engine.send(FIRST, clients))) == 4


def test_closing_ends_the_processes_and_is_no_end_of_the_engine(make, clients, log, gone) -> None:
    engine = make()
    for _ in range(2):
        list(engine.send(FIRST, clients))
        engine.close()
        assert gone(*{pid for _, pid in log()})
    engine.close()


PROGRAM = """
import sys

import crashing_algorithm
import numpy as np
from fedbbpt.engines import Call
from fedbbpt.engines.processes import Processes
from fedbbpt.types import Message

if __name__ == "__main__":
    call = Call("train", Message(1, 5, {"w": np.zeros(1000, np.float32)}))
    engine = Processes(crashing_algorithm.Hosts(sys.argv[1]), crashing_algorithm.new_memories())
    engine.send(call, crashing_algorithm.CLIENTS)
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_no_worker_outlives_whom_it_works_for(crashing, order, gone, children_of, tmp_path: Path, how) -> None:
    order("client-002", "sleep")
    environment = os.environ | {"PYTHONPATH": str(Path(crashing.__file__).parent)}
    program = subprocess.Popen([sys.executable, "-c", PROGRAM, tmp_path], env=environment, stderr=subprocess.PIPE)
    with program:
        while not (tmp_path / "asleep").exists() or not (tmp_path / "asleep").read_text():
            assert program.poll() is None
            time.sleep(0.02)
        children = children_of(program.pid)
        assert (tmp_path / "asleep").read_text() in children
        assert len(children) == 3  # two workers, and what Python keeps for their resources
        program.send_signal(how)
        program.communicate(timeout=30)
    assert gone(*map(int, children))
