"""A federation on this machine, each member in processes of its own that can be found and killed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from fedbbpt.federation.admin import status
from fedbbpt.federation.kits import Federation
from fedbbpt.federation.nodes import start_server, stop_server
from fedbbpt.federation.provisioning import create
from fedbbpt.federation.site_config import SiteConfig
from fedbbpt.federation.watcher import MARK
from fedbbpt_benchmarks.experiments.paid_service import PaidService, paid_service

SITES = ("a", "b", "c")
RUN_SITE = """
import sys
from pathlib import Path
from fedbbpt.federation.kits import open_kit
from fedbbpt.federation.nodes import run_site

run_site(open_kit(Path(sys.argv[1]), "site"), print)
"""
# What the command line of a member's process holds. All of them run with MARK in their environment, save the watcher.
PROCESSES = {"parent": "fedbbpt.federation.node_process", "job": "nvflare.private.fed.app", "worker": "spawn_main"}
PATIENCE = 60.0  # seconds
POLL = 0.1  # seconds
BACKEND = {
    "name": "openai",
    "model": "m",
    "top_logprobs": 20,
    "max_tokens_parameter": "max_tokens",
    "temperature": 0.0,
    "concurrency": 2,
}


class LoopbackFederation:
    """Three sites with a table of texts and a paid service each, and their server.

    Attributes:
        federation: its folder and kits.
        services: what each site pays.
        data: the sites' tables, for a simulation.
    """

    def __init__(self, root: Path, port: int, services: Mapping[str, PaidService]) -> None:
        self.root, self.services, self.data = root, services, root / "data"
        self.federation = create("study", list(services), port=port, out=root)
        self._watchers: dict[str, subprocess.Popen[bytes]] = {}
        self.data.mkdir()
        for site, service in services.items():
            (self.data / f"{site}.csv").write_text(table(site))
            data = {"name": f"csv:{self.data / site}.csv"}
            SiteConfig.of({"data": data, "backend": BACKEND | {"base_url": service.url}}).write(self.kit(site))

    def kit(self, member: str) -> Path:
        """The folder of the kit of a site, or of the server."""
        return self.federation.folder / ("server" if member == "server" else f"sites/{member}")

    def cache(self, site: str) -> Path:
        """Where a site keeps the answers that it paid for, and its ledger."""
        return self.root / f"cache-{site}"

    def join(self, site: str) -> None:
        """Starts a site."""
        env = os.environ | {"FEDBBPT_CACHE": str(self.cache(site))}
        with (self.root / f"{site}.txt").open("ab") as said:
            command = [sys.executable, "-u", "-c", RUN_SITE, str(self.kit(site))]
            self._watchers[site] = subprocess.Popen(command, env=env, stdout=said, stderr=said)

    def wait_for_sites(self) -> None:
        """Waits until all sites take part."""
        _wait(lambda: all(site.last_seen for site in _sites(self.federation)), "the sites have not joined")

    def processes(self, member: str, kind: str) -> list[psutil.Process]:
        """The processes of the server or a site: its watcher, its parent, its job, its worker, or all."""
        if kind == "all":
            return [one for each in ("watcher", *PROCESSES) for one in self.processes(member, each)]
        if kind == "watcher":
            return [psutil.Process(self._watchers[member].pid)] if member in self._watchers else []
        mark, found = str(self.kit(member).absolute()), []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                ours = process.environ().get(MARK) == mark
                if ours and PROCESSES[kind] in " ".join(process.cmdline()):
                    found.append(process)
        return found

    def kill(self, member: str, kind: str) -> int:
        """Kills processes (SIGKILL) of a member; returns how many there were."""
        found = self.processes(member, kind)
        for process in found:
            with suppress(psutil.Error):
                process.send_signal(signal.SIGKILL)
        if kind in ("all", "watcher") and (watcher := self._watchers.pop(member, None)):
            watcher.wait()
        return len(found)

    def train(self, arguments: Sequence[str], log: Path) -> "subprocess.Popen[bytes]":
        """Starts `fedbbpt train`, which writes to a log."""
        with log.open("ab") as said:
            command = [sys.executable, "-m", "fedbbpt", "train", *arguments]
            return subprocess.Popen(command, stdout=said, stderr=said)

    def settings(self) -> list[str]:
        """The options of a run at the sites."""
        return ["--engine", "nvflare", "--federation", str(self.federation.folder)]

    def simulation(self) -> list[str]:
        """The options of a simulation of the same run."""
        backend = BACKEND | {"base_url": self.services["a"].url}
        options = [word for key, value in backend.items() for word in ("-o", f"backend.{key}={value}")]
        return ["--task", f"sites:{self.data}", *options]

    def __enter__(self) -> "LoopbackFederation":
        start_server(self.federation)
        for site in self.services:
            self.join(site)
        self.wait_for_sites()
        return self

    def __exit__(self, *_: object) -> None:
        for watcher in self._watchers.values():
            watcher.terminate()
        for watcher in self._watchers.values():
            watcher.wait(PATIENCE)
        stop_server(self.federation)


@contextmanager
def loopback_federation(root: Path, port: int, takes: float = 0.0) -> Iterator[LoopbackFederation]:
    """A federation that runs; an answer of a site's service takes so many seconds."""
    with ExitStack() as stack:
        services = {site: stack.enter_context(paid_service(takes)) for site in SITES}
        yield stack.enter_context(LoopbackFederation(root, port, services))


def table(site: str) -> str:
    """Reviews, of which a third do not say what they are."""
    words = ("a bright", "a dull", "an odd")
    rows = [f"{words[i % 3]} film number {i} from {site},{('good', 'bad')[i % 2]}" for i in range(80)]
    return "\n".join(["text,label", *rows])


def _sites(federation: Federation) -> Sequence[Any]:
    found = status(federation)
    return found.sites if found else ()


def _wait(done: Callable[[], bool], otherwise: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not done():
        if time.monotonic() > deadline:
            raise TimeoutError(otherwise)
        time.sleep(POLL)
