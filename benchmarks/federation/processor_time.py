"""The processor time of a federation's members, while it is watched."""

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Mapping

import numpy as np
import psutil

from fedbbpt.federation.demo_members import processes_of

INTERVAL = 1.0  # seconds between looks, each of which takes some 20 ms


class ProcessorTime(threading.Thread):
    """Looks every second at what each member's processes have computed so far.

    Args:
        members: the names of processes that this one started, by their ids; each with all that it has started itself.
            It may grow meanwhile.
    """

    def __init__(self, members: Mapping[int, str]) -> None:
        super().__init__(daemon=True)
        self._members, self._ended = members, threading.Event()
        self._looks: list[tuple[float, Counter[str]]] = []  # seconds since 1970, and of the processor by member

    def used(self, begin: float, end: float) -> dict[str, float]:
        """Seconds of the processor by member, between two moments (seconds since 1970) without processes that end."""
        times = [at for at, _ in self._looks]
        found = {}
        for member in set(self._members.values()):
            before, after = np.interp([begin, end], times, [seconds[member] for _, seconds in self._looks])
            found[member] = float(after - before)
        return found

    def run(self) -> None:
        """See `Thread`."""
        while not self._ended.wait(INTERVAL):
            self._look()

    def __enter__(self) -> "ProcessorTime":
        self._look()
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self.join()

    def _look(self) -> None:
        now, seconds = time.time(), Counter[str]()
        for member, process in processes_of(self._members):
            with contextlib.suppress(psutil.Error):  # it has ended
                used = process.cpu_times()
                seconds[member] += used.user + used.system
        self._looks.append((now, seconds))
