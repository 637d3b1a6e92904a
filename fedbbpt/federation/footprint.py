"""The memory of this process and all that it has started, while it is watched."""

import contextlib
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import psutil

from fedbbpt.federation.demo_members import processes_of

INTERVAL = 2.0  # seconds between looks, each of which takes some 50 ms
PROGRAMS = {  # what a process is, by its command line
    "fedbbpt federation join": "watches the site's processes",
    "fedbbpt federation up": "watches the server's processes",
    "fedbbpt.federation.node_process server": "NVFlare's server, which all sites connect to",
    "fedbbpt.federation.node_process site": "NVFlare's client, which connects to the server",
    "server.runner_process": "the server's half of the run",
    "client.worker_process": "takes the run's messages",
    "multiprocessing.spawn": "the site's data and its way to the model",
    "fedbbpt serve": "the model, for all sites",
}


@dataclass(frozen=True)
class ProcessMemory:
    """A process, as it was when all of them together took the most memory."""

    member: str  # to which it belongs
    pid: int
    program: str  # what it is, for people
    memory: int  # bytes; pages that several processes share are divided among them where the system tells (Linux)


class Footprint(threading.Thread):
    """Looks every two seconds at the `members`, processes with their names by id; `peak` is when they took the most.

    A member counts with all processes that it has started. There may be more of them meanwhile.
    """

    def __init__(self, members: Mapping[int, str]) -> None:
        super().__init__(daemon=True)
        self._members, self._ended = members, threading.Event()
        self.peak: list[ProcessMemory] = []

    @property
    def total(self) -> int:
        """The memory of all processes at the peak, in bytes."""
        return sum(process.memory for process in self.peak)

    def run(self) -> None:
        """See `Thread`."""
        while not self._ended.wait(INTERVAL):
            now = list(self._look())
            if sum(process.memory for process in now) > self.total:
                self.peak = now

    def __enter__(self) -> "Footprint":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self.join()

    def _look(self) -> Iterator[ProcessMemory]:
        yield ProcessMemory("demo", psutil.Process().pid, "this command", _memory(psutil.Process()))
        for member, process in processes_of(self._members):
            with contextlib.suppress(psutil.Error):  # it has ended
                line = " ".join(process.cmdline())
                program = next((words for part, words in PROGRAMS.items() if part in line), None)
                if program is not None:
                    yield ProcessMemory(member, process.pid, program, _memory(process))


def _memory(process: psutil.Process) -> int:
    info = process.memory_full_info()
    return int(getattr(info, "pss", info.rss))
