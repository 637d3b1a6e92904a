"""Clients in worker processes: the bits of one process, memories, errors and signals."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from fedbbpt.errors import ConfigError, UnknownName


def _bits(replies: Any) -> list[bytes]:
    return [reply.to_bytes() for reply in replies]


@pytest.mark.parametrize("workers", [1, 2, 7])
def test_the_bits_and_the_order_are_those_of_this_process(crashing, make, here, clients, log, workers) -> None:
    engine = make(workers)
    for call in (crashing.FIRST, crashing.EVALUATE):
        there = list(engine.send(call, clients))
        pids = {pid for _, pid in log()}
        assert os.getpid() not in pids
        assert len(pids) <= workers
        assert _bits(there) == _bits(here(call))
        log()


def test_a_host_is_opened_once_and_kept(crashing, make, clients, log) -> None:
    engine = make(workers=1)
    for call in (crashing.FIRST, crashing.SECOND):
        list(engine.send(call, clients))
    assert len({pid for _, pid in log()}) == 1


def test_memories_go_wherever_their_client_is_served(crashing, make, clients, log) -> None:
    engine, served = make(workers=2), set[int]()
    for turn in range(1, 9):
        replies = engine.send(crashing.COUNT, clients if turn % 2 else clients[::-1])
        assert [reply.payload["count"].tolist() for reply in replies] == 4 * [[turn]]
        served |= {pid for client, pid in log() if client == clients[0]}
        if turn == 4:
            engine.close()  # the memories outlive the processes
    assert len(served) > 1
    assert engine._memories[clients[0]].durable.keys() == {"tuned/count"}


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
def test_errors_come_as_they_were_raised(crashing, make, clients, order, which, kind, said, where) -> None:
    engine = make()
    order(where, f"err {which}")
    with pytest.raises(kind) as caught:
        list(engine.send(crashing.FIRST, clients, {}.__setitem__))
    assert type(caught.value) is kind
    assert str(caught.value) == said
    ours = which in ("config", "name")
    assert ours or "in _obey" in caught.value.__notes__[0]  # of a bug, where it was
    order(where, "")
    assert len(list(engine.send(crashing.FIRST, clients))) == 4


def test_closing_ends_the_processes_and_is_no_end_of_the_engine(crashing, make, clients, log, gone) -> None:
    engine = make()
    for _ in range(2):
        list(engine.send(crashing.FIRST, clients))
        engine.close()
        assert gone(*{pid for _, pid in log()})
    engine.close()


def test_it_may_be_used_from_any_thread(crashing, make, here, clients) -> None:
    engine = make()
    with ThreadPoolExecutor(1) as thread:
        there = thread.submit(engine.send, crashing.FIRST, clients).result()
    assert _bits(there) == _bits(here(crashing.FIRST))


def test_another_thread_may_close_it_during_a_call(crashing, make, order, tmp_path: Path) -> None:
    engine, dropped = make(), {}
    order("client-002", "sleep")
    with ThreadPoolExecutor(1) as thread:
        sent = thread.submit(engine.send, crashing.FIRST, ["client-002"], dropped.__setitem__)
        while not (tmp_path / "asleep").exists():
            assert not sent.done()
            time.sleep(0.02)
        engine.close()
        assert list(sent.result()) == []
    assert dropped.keys() == {"client-002"}


@pytest.mark.parametrize(("ours", "theirs"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_threads_of_workers_sleep_while_they_wait(
    crashing, make, clients, order, monkeypatch, tmp_path: Path, ours, theirs
) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    if ours:
        monkeypatch.setenv("OMP_WAIT_POLICY", ours)
    order("client-002", "tell OMP_WAIT_POLICY")
    list(make().send(crashing.FIRST, clients))
    assert (tmp_path / "told").read_text() == theirs
    assert os.environ.get("OMP_WAIT_POLICY") == ours


PROGRAM = """
import sys

import crashing_algorithm
from fedbbpt.engines.processes import Processes

if __name__ == "__main__":
    engine = Processes(crashing_algorithm.Hosts(sys.argv[1]), crashing_algorithm.new_memories())
    engine.send(crashing_algorithm.FIRST, crashing_algorithm.CLIENTS)
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_no_worker_outlives_whom_it_works_for(crashing, order, gone, children_of, tmp_path: Path, how) -> None:
    order("client-002", "sleep")
    environment = os.environ | {"PYTHONPATH": str(Path(crashing.__file__).parent)}
    command = [sys.executable, "-c", PROGRAM, tmp_path]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, process_group=0) as program:
        while not (tmp_path / "asleep").exists() or not (tmp_path / "asleep").read_text():
            assert program.poll() is None
            time.sleep(0.02)
        children = children_of(program.pid)
        assert (tmp_path / "asleep").read_text() in children
        assert len(children) == 3  # two workers, and what Python keeps for their resources
        if how == signal.SIGINT:
            os.killpg(program.pid, how)  # as a terminal does, to all of them
        else:
            program.send_signal(how)
        _, errors = program.communicate(timeout=30)
    assert gone(*map(int, children))
    assert errors.count("Traceback") == (how == signal.SIGINT)  # the program's own
