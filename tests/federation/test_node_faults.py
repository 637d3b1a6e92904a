"""What ends, ends wholly; what comes back is found again."""

import os
import signal
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest

from fedbbpt.federation.admin import status
from fedbbpt.federation.kits import Federation, open_kit
from fedbbpt.federation.nodes import server_state, start_server, stop_server

pytestmark = pytest.mark.timeout(300)
TIMEOUT = 60.0  # seconds


def wait_until(condition: Callable[[], Any], seconds: float = TIMEOUT) -> None:
    """Waits until a condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def present(federation: Federation) -> list[str]:
    """Names of the sites that the server sees."""
    found = status(federation)
    assert found is not None
    return [site.name for site in found.sites if site.last_seen is not None]


@pytest.fixture
def kit(federation):
    """The kit of the site a."""
    return open_kit(federation.folder / "sites" / "a", "site")


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT])
def test_a_site_that_is_told_to_end_leaves_at_once_and_wholly(federation, join, kit, nvflare_processes, end):
    site = join("a")
    site.says("takes part")
    assert present(federation) == ["a"]
    site.process.send_signal(end)
    site.says("interrupted")
    assert not nvflare_processes(kit)
    assert present(federation) == []


def test_nothing_is_left_of_a_site_whose_process_is_killed(federation, join, kit, nvflare_processes):
    site = join("a")
    site.says("takes part")
    site.process.kill()
    wait_until(lambda: not nvflare_processes(kit))
    wait_until(lambda: present(federation) == [])


def test_a_site_waits_for_a_server_that_goes_and_comes_back(federation, join, nvflare_processes):
    site = join("a")
    site.says("takes part")
    assert stop_server(federation)
    assert not nvflare_processes(federation.server)
    with socket.socket() as free:
        free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        free.bind(("127.0.0.1", federation.description.port))
    assert server_state(federation) is None
    assert status(federation) is None
    assert not stop_server(federation)
    site.says("does not answer any more")
    start_server(federation)
    site.says("answers again")
    wait_until(lambda: present(federation) == ["a"])
    site.end()


def test_nvflares_processes_are_started_again_if_they_are_killed(federation, join, nvflare_processes):
    site = join("a")
    site.says("takes part")
    before = server_state(federation)
    (process,) = nvflare_processes(federation.server)
    process.kill()
    wait_until(lambda: (server_state(federation).since or 0.0) > before.since)
    assert server_state(federation).pid == before.pid
    wait_until(lambda: present(federation) == ["a"])
    site.end()


def test_nothing_is_left_of_a_server_whose_process_is_killed(federation, nvflare_processes):
    os.kill(server_state(federation).pid, signal.SIGKILL)
    wait_until(lambda: not nvflare_processes(federation.server))
    wait_until(lambda: server_state(federation) is None)
    start_server(federation)
    assert present(federation) == []


def test_a_site_says_once_that_the_server_does_not_answer(federation, join, kit, nvflare_processes):
    stop_server(federation)
    site = join("a")
    site.says("connection refused")
    assert not nvflare_processes(kit)
    start_server(federation)
    site.says("takes part")  # the next sentence
    site.end()
