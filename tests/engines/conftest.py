"""Algorithms for other processes (`elsewhere/`), and how to see which processes there are."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ELSEWHERE = Path(__file__).parent / "elsewhere"


@pytest.fixture
def crashing(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module `crashing_algorithm`, where worker processes find it, too."""
    monkeypatch.syspath_prepend(ELSEWHERE)
    import crashing_algorithm

    return crashing_algorithm


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
