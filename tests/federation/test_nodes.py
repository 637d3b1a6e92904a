"""A server and its sites as processes of this machine: they find each other, and leave nothing behind."""

import time
from collections.abc import Callable
from typing import Any

import psutil
import pytest

from fedbbpt.federation.admin import status
from fedbbpt.federation.kits import Kit, open_kit
from fedbbpt.federation.watcher import MARK

pytestmark = pytest.mark.timeout(240)


def processes(kit: Kit) -> list[psutil.Process]:
    """NVFlare's processes of a kit."""
    found = []
    for process in psutil.process_iter():
        try:
            ours = process.environ().get(MARK) == str(kit.folder.absolute())
        except psutil.Error:
            continue
        if ours:
            found.append(process)
    return found


@pytest.fixture(scope="module")
def sites(join: Callable[..., Any]) -> dict[str, Any]:
    """The sites a and b, which have joined."""
    joined = {name: join(name) for name in ("a", "b")}
    for name, site in joined.items():
        site.says(f"{name} takes part in study")
    return joined


def test_status_shows_the_sites_that_have_joined(federation, sites):
    found = status(federation)
    assert [site.name for site in found.sites] == ["a", "b"]
    assert all(found.since < site.since <= time.time() for site in found.sites)
    assert all(0 <= time.time() - site.last_seen < 30 for site in found.sites)
    assert found.jobs == []


def test_nothing_listens_beyond_loopback(federation, sites):
    kits = [federation.server, *(open_kit(federation.folder / "sites" / name, "site") for name in sites)]
    listening = [
        connection.laddr.ip
        for kit in kits
        for process in processes(kit)
        for connection in process.net_connections()
        if connection.status == psutil.CONN_LISTEN
    ]
    assert len(listening) >= 4  # the server's port, and one of each process for those of jobs
    assert {ip.removeprefix("::ffff:") for ip in listening} == {"127.0.0.1"}
