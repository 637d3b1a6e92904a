"""Clients that are killed, fail or are interrupted, in processes that the tests can see."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedbbpt.engines import processes, worker
from fedbbpt.engines.processes import Processes
from fedbbpt.errors import BackendError, ConfigError, UnknownName
from fedbbpt.run.client_pool import CountedExchange
from fedbbpt.types import Message, Usage

SETTINGS = {"seed": 5, "parameters": {"w": np.linspace(0, 1, 1000, dtype=np.float32)}}
FIRST, SECOND = Message(1, **SETTINGS), Message(2, **SETTINGS)
KILLED = "killed by SIGKILL"


@pytest.fixture
def make(frail: Any, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """`make(workers=2)`: an engine, which ends with the test."""
    made: list[Processes] = []

    def make(workers: int = 2) -> Processes:
        made.append(Processes(partial(frail.reopen, str(tmp_path)), workers=workers))
        return made[-1]

    yield make
    for engine in made:
        engine.close()


@pytest.fixture
def place(frail: Any, tmp_path: Path) -> Any:
    """The method and the clients in this process."""
    return frail.reopen(str(tmp_path))


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
def test_the_bits_and_the_order_are_those_of_this_process(make, place, log, workers) -> None:
    (algorithm, clients), engine = place, make(workers)
    for work in (partial(algorithm.local, FIRST), partial(algorithm.score, "test", SECOND)):
        there = list(engine.map(work, clients))
        pids = {pid for _, pid in log()}
        assert os.getpid() not in pids
        assert len(pids) <= workers
        assert _bits(there) == _bits(map(work, clients))
        log()
    assert list(engine.map(partial(algorithm.count, FIRST), clients)) == [1001] * 4


def test_a_session_is_opened_once_and_kept(make, place, log) -> None:
    (algorithm, clients), engine = place, make(workers=1)
    for message in (FIRST, SECOND):
        list(engine.map(partial(algorithm.local, message), clients))
    assert len({pid for _, pid in log()}) == 1


@pytest.mark.parametrize(("what", "how"), [("die once", KILLED), ("leave", "exit code 3")])
def test_one_that_dies_costs_its_own_part_of_the_round_and_is_back_in_the_next(make, place, order, what, how) -> None:
    (algorithm, clients), engine, lost = place, make(), {}
    order("client-001", what)
    replies = list(
        engine.map(partial(algorithm.local, FIRST), clients, lambda client, how: lost.update({client.id: how}))
    )
    assert lost == {"client-001": how}
    others = [client for client in clients if client.id != "client-001"]
    assert _bits(replies) == _bits(partial(algorithm.local, FIRST)(client) for client in others)
    order("client-001", "")
    lost.clear()
    again = list(
        engine.map(partial(algorithm.local, SECOND), clients, lambda client, how: lost.update({client.id: how}))
    )
    assert _bits(again) == _bits(map(partial(algorithm.local, SECOND), clients))
    assert not lost


def test_a_reply_that_cannot_be_read_is_lost(make, place, monkeypatch) -> None:
    (algorithm, clients), engine, lost = place, make(workers=1), {}
    told: list[Any] = []

    def unpack(reply: Any) -> Any:
        told.append(reply)
        return worker.unpack(reply._replace(content=reply.content[:-1]) if len(told) == 2 else reply)

    monkeypatch.setattr(processes, "unpack", unpack)
    work = partial(algorithm.local, FIRST)
    replies = list(engine.map(work, clients, lambda client, how: lost.update({client.id: how})))
    assert lost.keys() == {"client-001"}
    assert "cannot be read" in lost["client-001"]
    assert len(replies) == 3


def test_what_is_lost_is_not_counted_and_the_rest_of_the_round_goes_without_it(make, place, order) -> None:
    (algorithm, clients), engine = place, make()
    order("client-002", "die once")
    exchange = CountedExchange(engine, clients)
    replies = exchange(algorithm.local, FIRST)
    assert exchange.missing == {"client-002": KILLED}
    assert exchange.usage == Usage(6, 3)
    assert exchange.bytes_up == sum(map(len, _bits(replies)))
    assert exchange.bytes_down == 3 * len(FIRST.to_bytes())
    assert [reply.client for reply in exchange(algorithm.local, FIRST)] == [reply.client for reply in replies]


def test_a_round_without_anybody_left_is_an_error(make, place, order) -> None:
    (algorithm, clients), engine = place, make()
    for client in clients:
        order(client.id, "die once")
    with pytest.raises(BackendError, match=f"all clients of round 1 died .*{KILLED}.*continue with --resume"):
        CountedExchange(engine, clients)(algorithm.local, FIRST)
    assert len(CountedExchange(engine, clients)(algorithm.local, FIRST)) == 4


def test_a_score_is_asked_for_once_more_and_never_missing(make, place, order, log) -> None:
    (algorithm, clients), engine = place, make()
    score = partial(algorithm.score, "test", FIRST)
    order("client-001", "die once")
    there = list(engine.map(score, clients))
    assert len(log()) == 4
    assert _bits(there) == _bits(map(score, clients))
    order("client-001", "die")
    with pytest.raises(BackendError, match=f"client-001 ended twice .*{KILLED}.*--resume"):
        list(engine.map(score, clients))


def test_a_worker_that_dies_while_it_opens_costs_nobody_anything(make, place, order) -> None:
    (algorithm, clients), engine, lost = place, make(), []
    order("opening", "die once")
    assert len(list(engine.map(partial(algorithm.local, FIRST), clients, lambda *which: lost.append(which)))) == 4
    assert not lost


def test_workers_that_cannot_open_are_given_up(make, place, order) -> None:
    (algorithm, clients), engine = place, make()
    order("opening", "die")
    with pytest.raises(BackendError, match=rf"before they have opened .*\(the last: {KILLED}\)"):
        list(engine.map(partial(algorithm.local, FIRST), clients))


def test_a_worker_that_dies_between_two_rounds_is_replaced(make, place, log, gone) -> None:
    (algorithm, clients), engine, lost = place, make(), []
    list(engine.map(partial(algorithm.local, FIRST), clients))
    before = {pid for _, pid in log()}
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    assert gone(*before)
    assert len(list(engine.map(partial(algorithm.local, SECOND), clients, lambda *which: lost.append(which)))) == 4
    assert not lost
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
def test_errors_come_as_they_were_raised(make, place, order, which, kind, said, where) -> None:
    (algorithm, clients), engine = place, make()
    order(where, f"err {which}")
    with pytest.raises(kind) as caught:
        list(engine.map(partial(algorithm.local, FIRST), clients, lambda client, how: None))
    assert type(caught.value) is kind
    assert str(caught.value) == said
    ours = which in ("config", "name")
    assert ours or "in _obey" in caught.value.__notes__[0]  # of a bug, where it was
    order(where, "")
    assert len(list(engine.map(partial(algorithm.local, FIRST), clients))) == 4


def test_what_keeps_something_in_this_process_stays_here(make, frail, place, tmp_path: Path) -> None:
    _, clients = place
    for work in (partial(frail.Stubborn(str(tmp_path)).local, FIRST), partial(len), str):
        with pytest.raises(RuntimeError, match="portable"):
            make().map(work, clients)


def test_closing_ends_the_processes_and_is_no_end_of_the_engine(make, place, log, gone) -> None:
    (algorithm, clients), engine = place, make()
    for _ in range(2):
        list(engine.map(partial(algorithm.local, FIRST), clients))
        engine.close()
        assert gone(*{pid for _, pid in log()})
    engine.close()


PROGRAM = """
import sys
from functools import partial

import frail
import numpy as np
from fedbbpt.engines.processes import Processes
from fedbbpt.types import Message

reopen = partial(frail.reopen, sys.argv[1])
algorithm, clients = reopen()
message = Message(1, 5, {"w": np.zeros(1000, np.float32)})
Processes(reopen).map(partial(algorithm.local, message), clients)
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_no_worker_outlives_whom_it_works_for(frail, order, gone, tmp_path: Path, how) -> None:
    order("client-002", "sleep")
    environment = os.environ | {"PYTHONPATH": str(Path(frail.__file__).parent)}
    program = subprocess.Popen([sys.executable, "-c", PROGRAM, tmp_path], env=environment, stderr=subprocess.PIPE)
    with program:
        while not (tmp_path / "asleep").exists() or not (tmp_path / "asleep").read_text():
            assert program.poll() is None
            time.sleep(0.02)
        workers = Path(f"/proc/{program.pid}/task/{program.pid}/children").read_text().split()
        assert (tmp_path / "asleep").read_text() in workers
        assert len(workers) == 2
        program.send_signal(how)
        program.communicate(timeout=30)
    assert gone(*map(int, workers))
