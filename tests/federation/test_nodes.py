"""A server and its sites as processes of this machine: who may take part, and what the server may do to a site."""

import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from fedbbpt.errors import FederationError
from fedbbpt.federation.admin import admin_session, status
from fedbbpt.federation.kits import Federation, Kit, open_kit, write_description
from fedbbpt.federation.nodes import start_server
from fedbbpt.federation.provisioning import create
from fedbbpt.federation.reachability import check_server

pytestmark = pytest.mark.timeout(240)
TIMEOUT = 60.0  # seconds


@pytest.fixture(scope="module")
def sites(join: Callable[..., Any]) -> dict[str, Any]:
    """The sites a and b, which have joined; c has not."""
    joined = {name: join(name) for name in ("a", "b")}
    for name, site in joined.items():
        site.says(f"{name} takes part in study")
    return joined


@pytest.fixture(scope="module")
def stranger(federation: Federation, tmp_path_factory: pytest.TempPathFactory) -> Federation:
    """Another federation whose kits name the same server."""
    return create("study", ["a", "c"], port=federation.description.port, out=tmp_path_factory.mktemp("stranger"))


@contextmanager
def unchecked(kit: Path) -> Iterator[None]:
    """NVFlare's client with a kit that `join` would not take."""
    command = [sys.executable, "-m", "fedbbpt.federation.node_process", "site", str(kit)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        yield
        process.communicate(timeout=TIMEOUT)  # it ends with its standard input


def wait_for_log(kit: Kit, words: str) -> None:
    """Waits until the log of a kit holds these words."""
    deadline = time.monotonic() + TIMEOUT
    while words not in kit.log.read_text():
        assert time.monotonic() < deadline, f"{words!r} is not in {kit.log.read_text()}"
        time.sleep(0.1)


def test_status_shows_the_sites_that_have_joined(federation, sites):
    found = status(federation)
    assert [(site.name, site.last_seen is not None) for site in found.sites] == [("a", True), ("b", True), ("c", False)]
    assert all(found.since < site.since <= time.time() for site in found.sites[:2])
    assert all(0 <= time.time() - site.last_seen < 30 for site in found.sites[:2])
    assert found.jobs == []


def test_nothing_listens_beyond_loopback(federation, sites, nvflare_processes):
    kits = [federation.server, *(open_kit(federation.folder / "sites" / name, "site") for name in sites)]
    listening = [
        connection.laddr.ip
        for kit in kits
        for process in nvflare_processes(kit)
        for connection in process.net_connections()
        if connection.status == psutil.CONN_LISTEN
    ]
    assert len(listening) >= 4  # the server's port, and one of each process for those of jobs
    assert {ip.removeprefix("::ffff:") for ip in listening} == {"127.0.0.1"}


def test_a_kit_of_another_federation_is_refused(federation, stranger, join):
    site = join(kit=stranger.folder / "sites" / "a")
    assert "another federation" in site.says("is not that of this kit")
    assert site.process.wait(TIMEOUT) == 0


def test_the_server_refuses_a_certificate_of_another_federation(federation, stranger, tmp_path):
    mixed = shutil.copytree(stranger.folder / "sites" / "c", tmp_path / "c")
    shutil.copy(federation.server.root_certificate, mixed / "startup")  # so that it would trust the server
    with pytest.raises(FederationError, match="does not take this kit's certificate"):
        check_server(open_kit(mixed, "site"))


def test_the_server_refuses_a_kit_under_anothers_name(federation, tmp_path):
    kit = open_kit(shutil.copytree(federation.folder / "sites" / "b", tmp_path / "c"), "site")
    settings = kit.description.__dict__ | {"name": "c"}
    write_description(kit.folder, type(kit.description)(**settings))
    with unchecked(kit.folder):
        wait_for_log(federation.server, "authenticated as 'b' but claimed endpoint 'c'")
        assert [site.last_seen for site in status(federation).sites if site.name == "c"] == [None]


def test_a_kit_takes_part_once(federation, sites, join):
    assert "its site runs already" in join("a").says("in use")
    with pytest.raises(FederationError, match="its server runs already"):
        start_server(federation)


def test_a_port_that_is_taken_is_refused(stranger, federation, nvflare_processes):
    with pytest.raises(FederationError, match=f"port {federation.description.port} is taken"):
        start_server(stranger)
    assert not nvflare_processes(stranger.server)


def test_an_operator_of_the_server_reads_no_file_of_a_site_and_does_not_stop_it(federation, sites):
    with admin_session(federation) as session:
        assert "kit.toml" in session.ls_target("server")
        refused = [
            lambda: session.ls_target("a"),
            lambda: session.cat_target("a", file="startup/fed_client.json"),
            lambda: session.shutdown("client", ["a"]),
        ]
        for command in refused:
            with pytest.raises(Exception, match=r"not authorized|failed to shut down"):
                command()
    assert sites["a"].process.poll() is None
    assert [site.last_seen is not None for site in status(federation).sites] == [True, True, False]


def test_a_port_without_a_federation_is_told_from_one_with_another(federation):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        description = federation.admin.description
        kit = Kit(
            federation.admin.folder, type(description)(**description.__dict__ | {"port": silent.getsockname()[1]})
        )
        silent.listen()

        def greet() -> None:
            connection, _ = silent.accept()
            with connection:
                connection.sendall(b"220 mail.example.org\r\n" * 10)

        threading.Thread(target=greet, daemon=True).start()
        with pytest.raises(FederationError, match="no federation's server"):
            check_server(kit)
