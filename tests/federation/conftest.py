"""A federation on this machine, whose server and sites are real processes."""

import queue
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import psutil
import pytest

from fedbbpt import registry
from fedbbpt.federation import letterbox
from fedbbpt.federation.kits import Federation, Kit
from fedbbpt.federation.nodes import start_server, stop_server
from fedbbpt.federation.provisioning import create
from fedbbpt.federation.watcher import MARK
from tests.federation.in_memory import Colours, MemoryChannel, open_sites, write_images

TIMEOUT = 60.0  # seconds
PORTS = range(20_000, 32_000)  # below those that systems give to connections
SITE = """
import sys
from pathlib import Path
from fedbbpt.errors import FedbbptError
from fedbbpt.federation.kits import open_kit
from fedbbpt.federation.nodes import run_site

try:
    run_site(open_kit(Path(sys.argv[1]), "site"), lambda sentence: print(sentence, flush=True), once=True)
except KeyboardInterrupt:
    print("interrupted")
except FedbbptError as e:
    print(e)
"""


def free_port() -> int:
    """A port that nobody listens on, and that no connection to elsewhere gets before the server listens there."""
    while True:
        port = random.SystemRandom().choice(PORTS)
        with suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port


class SiteProcess:
    """A process that runs a site, and what it says."""

    def __init__(self, kit: Path) -> None:
        self.process = subprocess.Popen([sys.executable, "-c", SITE, str(kit)], stdout=subprocess.PIPE, text=True)
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self.process.stdout:
            self._lines.put(line.strip())

    def says(self, words: str) -> str:
        """Waits for a sentence with these words."""
        deadline = time.monotonic() + TIMEOUT
        while True:
            line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
            if words in line:
                return line

    def end(self) -> None:
        """Ends the process as an operator would."""
        self.process.terminate()
        self.process.wait(TIMEOUT)
        self._reader.join()
        self.process.stdout.close()


@pytest.fixture(scope="module")
def federation(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    """A federation of the file's SITES, by default a, b and c, whose server runs."""
    sites = getattr(request.module, "SITES", ["b", "a", "c"])
    made = create("study", sites, port=free_port(), out=tmp_path_factory.mktemp("federation"))
    start_server(made)
    yield made
    stop_server(made)


@pytest.fixture(scope="module")
def join(federation: Federation) -> Iterator[Callable[..., SiteProcess]]:
    """`join(name)` or `join(kit=folder)`: starts a site, which ends with the tests of the file."""
    with ExitStack() as ends:

        def start(name: str = "", kit: Path | None = None) -> SiteProcess:
            site = SiteProcess(kit or federation.folder / "sites" / name)
            ends.callback(site.end)
            return site

        yield start


@pytest.fixture
def sites(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], MemoryChannel]:
    """`sites()`: berlin, oslo, paris and rome in this process, started anew; they do not wait long for letters."""
    registry.register("backends", "colours", Colours)
    monkeypatch.setattr(letterbox, "TIMEOUT", 0.5)
    data = write_images(tmp_path / "data", ("berlin", "oslo", "paris", "rome"))
    return lambda: open_sites(tmp_path / "kits", data)


@pytest.fixture(scope="session")
def nvflare_processes() -> Callable[[Kit], list[psutil.Process]]:
    """`nvflare_processes(kit)`: NVFlare's processes of a kit, its own and those of jobs."""

    def find(kit: Kit) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):  # it has ended
                ours = process.environ().get(MARK) == str(kit.folder.absolute())
                if ours and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    return find
