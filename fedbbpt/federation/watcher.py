"""Watches NVFlare's process of a kit: starts it, keeps what it writes, and ends it with all that it has started."""

import contextlib
import logging
import os
import re
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from logging.handlers import RotatingFileHandler
from typing import Any

from fedbbpt.errors import FederationError
from fedbbpt.federation.kits import Kit
from fedbbpt.printing import excerpt
from fedbbpt.run.atomic_files import writing

MARK = "FEDBBPT_KIT"  # in the environment of all processes of a kit: its folder
LOG_SIZE = 20 * 2**20  # bytes, after which a log begins anew; the one before it stays
STOP_TIMEOUT = 10.0  # seconds
POLL = 0.05  # seconds
RESTARTS, RESTART_WINDOW = 5, 600.0  # NVFlare's process is started again so often within so many seconds
ERROR = re.compile(r" (?:ERROR|CRITICAL) [^:]+: (.*)")


class _LogFile(RotatingFileHandler):
    """The log of a kit; a disk that is full costs lines, and nothing else."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """See `logging.Handler`."""


class Watcher:
    """Runs NVFlare's process for a kit; tells `on_line` of each line that it or one of its jobs' processes writes.

    The second argument is the pid of NVFlare's own process, of whose end `on_end` is told.
    """

    def __init__(
        self, kit: Kit, on_line: Callable[[str, int], None], on_end: Callable[[], None] = lambda: None
    ) -> None:
        self._kit, self._on_line, self._on_end = kit, on_line, on_end
        self._errors: deque[str] = deque(maxlen=1)
        with writing(kit.log):
            handler = _LogFile(kit.log, maxBytes=LOG_SIZE, backupCount=1, encoding="utf-8", errors="backslashreplace")
        self._log = logging.Logger("fedbbpt.federation.log")
        self._log.addHandler(handler)

    def run(self, once: bool) -> None:
        """Runs until interrupted, or NVFlare's process ends in order; after a crash it begins again, unless `once`.

        Raises:
            FederationError: the process has crashed, with `once` or for the sixth time in ten minutes.
        """
        ends: deque[float] = deque(maxlen=RESTARTS + 1)
        while True:
            code = self._run_once()
            if code == 0:
                return
            ends.append(time.monotonic())
            if once or (len(ends) > RESTARTS and ends[-1] - ends[0] < RESTART_WINDOW):
                why = f" ({self._errors[-1]})" if self._errors else ""
                raise FederationError(f"NVFlare's process ended with code {code}{why}; {self._kit.log} says more")
            time.sleep(2.0 ** (len(ends) - 1))

    def _run_once(self) -> int:
        role, folder = self._kit.description.role, self._kit.folder.absolute()
        end_processes(self._kit)  # whatever a watcher that was killed has left
        command = [sys.executable, "-u", "-m", "fedbbpt.federation.node_process", role, str(folder)]
        with subprocess.Popen(
            command,
            stdin=subprocess.PIPE,  # closed when this process ends, whatever ends it
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=os.environ | {MARK: str(folder), "PYTHONSAFEPATH": "1"},
            cwd=folder,
            encoding="utf-8",
            errors="backslashreplace",
            start_new_session=True,  # Ctrl-C is for the watching process, which then ends this one
        ) as process:
            reader = threading.Thread(target=self._read, args=(process,), daemon=True)
            reader.start()
            try:
                return process.wait()
            finally:
                process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(STOP_TIMEOUT)
                end_processes(self._kit)
                reader.join()
                self._on_end()

    def _read(self, process: "subprocess.Popen[str]") -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self._log.info(line.rstrip("\n"))
            if found := ERROR.search(line):
                self._errors.append(excerpt(found[1]))
            self._on_line(line, process.pid)


def end_processes(kit: Kit) -> None:
    """Kills all processes that were started for a kit, wherever they hang in the tree of processes."""
    import psutil

    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):  # it has ended, or is somebody else's
            if process.environ().get(MARK) == str(kit.folder.absolute()) and process.pid != os.getpid():
                process.kill()
                found.append(process)
    deadline = time.monotonic() + STOP_TIMEOUT
    while any(map(_runs, found)) and time.monotonic() < deadline:
        time.sleep(POLL)


def _runs(process: Any) -> bool:
    """Whether a process still runs; in a container without an init, one that has ended stays listed."""
    import psutil

    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
