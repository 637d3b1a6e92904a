"""Algorithms for other processes (`elsewhere/`), engines that run one, and how to see which processes there are."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fedbbpt.engines.processes import Processes
from fedbbpt.engines.serial import Serial

ELSEWHERE = Path(__file__).parent / "elsewhere"


@pytest.fixture
def crashing(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module `crashing_algorithm`, where worker processes find it, too."""
    monkeypatch.syspath_prepend(ELSEWHERE)
    import crashing_algorithm

    return crashing_algorithm


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


@pytest.fixture(scope="session")
def gone() -> Callable[..., bool]:
    """`gone(*pids)`: whether these processes end within half a minute; one that nobody waits for counts as ended."""

    def running(pid: int) -> bool:
        try:
            ended = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
            return not ended or len(list(Path(f"/proc/{pid}/task").iterdir())) > 1  # threads that are still ending
        except (FileNotFoundError, ProcessLookupError):
            return False

    def wait(*pids: int) -> bool:
        assert pids
        end = time.monotonic() + 30
        while any(map(running, pids)) and time.monotonic() < end:
            time.sleep(0.02)
        return not any(map(running, pids))

    return wait


@pytest.fixture(scope="session")
def children_of() -> Callable[[int], list[str]]:
    """`children_of(pid)`: the processes that any thread of a process has started, and that it has not waited for."""

    def read(pid: int) -> list[str]:
        threads = Path(f"/proc/{pid}/task").glob("*/children")
        return [child for thread in threads for child in thread.read_text().split()]

    return read
