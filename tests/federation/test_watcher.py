"""What a site's operator is told of NVFlare's lines, and the end of processes; no NVFlare runs."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from fedbbpt.errors import FederationError
from fedbbpt.federation import kits, nodes, watcher
from fedbbpt.federation.kits import Kit, open_kit
from fedbbpt.federation.provisioning import create

PID = 7
CREATED = "2026-01-01 10:00:00,000 INFO conn_manager: Connection [{} N/A => 127.0.0.1:8002] is created: PID: {}\n"
CLOSED = "2026-01-01 10:00:00,000 INFO conn_manager: Connection [{} Not Connected] is closed PID: {}\n"
AWAY, BACK = "The server does not answer any more; trying again until it does.", "The server answers again."
LEAVE_A_ZOMBIE = """
import os, subprocess, sys
marked = os.environ | {sys.argv[1]: sys.argv[2]}
child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, env=marked)
print(child.pid, flush=True)
input()
"""


@pytest.fixture
def kit(tmp_path: Path) -> Kit:
    """A site's kit."""
    pytest.importorskip("nvflare", exc_type=ImportError)
    return open_kit(create("study", ["a"], out=tmp_path).folder / "sites" / "a", "site")


@pytest.fixture
def said(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """`said(*lines)`: what a site says while NVFlare writes them; True, False: the server answers now, or not."""

    def play(*lines: str | bool) -> list[str]:
        sentences: list[str] = []
        reachable = [True]

        class Played:
            def __init__(self, kit: Kit, on_line: Callable[[str, int], None]) -> None:
                self.on_line = on_line

            def run(self, once: bool) -> None:
                for line in lines:
                    if isinstance(line, bool):
                        reachable[:] = [line]
                    else:
                        self.on_line(line, PID)

        monkeypatch.setattr(nodes, "Watcher", Played)
        monkeypatch.setattr(nodes, "wait_for_server", lambda *_: None)
        monkeypatch.setattr(nodes, "answers", lambda _: reachable[0])
        nodes.run_site(kit, sentences.append)
        return sentences

    return play


def test_attempts_that_reach_nobody_are_not_told(said: Callable[..., list[str]]) -> None:
    attempts = [words.format(f"CN{i}", PID) for i in range(2, 5) for words in (CREATED, CLOSED)]
    lines = [CREATED.format("CN1", PID), False, CLOSED.format("CN1", PID), *attempts, True, CREATED.format("CN9", PID)]
    assert said(*lines) == [AWAY, BACK]
    assert said(*lines, CLOSED.format("CN9", PID)) == [AWAY, BACK, AWAY]


def test_connections_of_jobs_are_not_told(said: Callable[..., list[str]]) -> None:
    job = [CREATED.format("CN1", PID + 1), CLOSED.format("CN1", PID + 1), CLOSED.format("CN2", PID)]
    assert said(CREATED.format("CN1", PID), *job) == []


@pytest.mark.timeout(60)
def test_a_process_that_has_ended_is_not_waited_for_though_nobody_reaps_it(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watcher, "STOP_TIMEOUT", 600.0)
    command = [sys.executable, "-c", LEAVE_A_ZOMBIE, watcher.MARK, str(kit.folder.absolute())]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        watcher.end_processes(kit)
        assert child.status() == psutil.STATUS_ZOMBIE
        parent.communicate(b"\n")


def test_another_version_of_nvflare_is_refused(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kits, "version", lambda _: "2.10.0")
    with pytest.raises(FederationError, match=r'runs on NVFlare 2\.9, and 2\.10\.0 is installed: pip install "nvfl'):
        kit.check()
