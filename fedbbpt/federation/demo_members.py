"""The processes of a demo, each of which is a command of fedbbpt, and ends with the demo."""

import contextlib
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from fedbbpt.errors import FederationError
from fedbbpt.printing import excerpt
from fedbbpt.run.atomic_files import writing

TIMEOUT, END_TIMEOUT, POLL = 300.0, 20.0, 0.1  # seconds


class Members:
    """The processes that a demo has started.

    Args:
        logs: folder of what they say.
        tell: shows a line.

    Attributes:
        names: by the processes' ids.
        commands: that were started, as a shell takes them.
    """

    def __init__(self, logs: Path, tell: Callable[[str], None]) -> None:
        self.names: dict[int, str] = {}
        self.commands: list[str] = []
        self._logs, self._tell = logs, tell
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, *arguments: str | Path | int, **env: str) -> None:
        """Starts `fedbbpt ARGUMENTS`, with additions to the environment, and shows the command."""
        words = [str(one) for one in arguments]
        with writing(self.log(name)):
            self._logs.mkdir(parents=True, exist_ok=True)
            log = self.log(name).open("wb")
        with log:
            process = subprocess.Popen(
                [sys.executable, "-u", "-m", "fedbbpt", *words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | env,
                start_new_session=True,  # Ctrl-C is for the demo, which then ends all others
            )
        self._processes[name], self.names[process.pid] = process, name
        self.commands.append(shlex.join(["fedbbpt", *words]))
        self._tell(f"{name:15}{self.commands[-1]}")

    def log(self, name: str) -> Path:
        """What a member says."""
        return self._logs / f"{name}.txt"

    def wait_until(self, done: Callable[[], bool], otherwise: str) -> None:
        """Waits for something.

        Raises:
            FederationError: a process has ended meanwhile; or it takes too long, which `otherwise` says.
        """
        deadline = time.monotonic() + TIMEOUT
        while not done():
            for name, process in self._processes.items():
                if process.poll() is not None:
                    said = self.log(name).read_text(errors="replace").strip().splitlines() or ["it said nothing"]
                    raise FederationError(f"{name} has ended early: {excerpt(said[-1].removeprefix('Error: '))}")
            if time.monotonic() > deadline:
                raise FederationError(f"{otherwise} within {TIMEOUT:.0f} seconds; the files in {self._logs} say more")
            time.sleep(POLL)

    def __enter__(self) -> "Members":
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes.values():
            process.terminate()  # which takes along what the process has started
        for process in self._processes.values():
            try:
                process.wait(END_TIMEOUT)
            except subprocess.TimeoutExpired:
                process.kill()


def processes_of(members: Mapping[int, str]) -> Iterator[tuple[str, Any]]:
    """The processes of members (names by id), as psutil has them, with all that they have started; sorted by name."""
    import psutil

    for pid, member in sorted(dict(members).items(), key=lambda item: item[1]):
        with contextlib.suppress(psutil.Error):  # it has ended
            root = psutil.Process(pid)
            yield from ((member, process) for process in [root, *root.children(recursive=True)])
