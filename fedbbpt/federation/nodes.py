"""Runs the members of a federation on this machine: its server, in the foreground or the background, and a site.

`watcher` does the work. What NVFlare writes says how a member fares; tests start, kill and restart members, and so see
whether it still does.
"""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from fedbbpt.errors import FederationError
from fedbbpt.federation import local_settings
from fedbbpt.federation.kits import Federation, Kit, needs_nvflare
from fedbbpt.federation.reachability import answers, check_port_free, wait_for_server
from fedbbpt.federation.watcher import STOP_TIMEOUT, Watcher
from fedbbpt.printing import excerpt
from fedbbpt.run.atomic_files import write_json, writing
from fedbbpt.run.lock import exclusive_lock
from fedbbpt.web.urls import is_loopback

ANY_ADDRESS = "0.0.0.0"
START_TIMEOUT = 60.0  # seconds
POLL = 0.05  # seconds
LOCK_TIMEOUT = 1.0  # seconds; whoever only looks holds a kit for less than a millisecond
STARTED = re.compile(r" root: Server started")
REGISTERED = re.compile(r": Successfully registered client")
CONNECTED = re.compile(r" conn_manager: Connection \[(\S+) .* => .*\] is created: PID: (\d+)")
DISCONNECTED = re.compile(r" conn_manager: Connection \[(\S+) .*\] is closed PID: (\d+)")
JOINED = re.compile(r" ClientManager: (?:Client: New client (.+)@|Re-activate the client: (\S+))")
LEFT = re.compile(r" ClientManager: Client Name:(\S+) left")

Tell = Callable[[str], None]  # takes one sentence for the user


@dataclass
class ServerState:
    """What `server/state.json` says while a server runs."""

    pid: int  # of the watching process
    since: float | None = None  # seconds since 1970, once the server can be reached
    sites: dict[str, float] = field(default_factory=dict)  # that are there, and since when


def run_site(kit: Kit, tell: Tell, *, once: bool = False) -> None:
    """Lets a site take part until it is interrupted.

    Raises:
        FederationError: the kit cannot be used, another process uses it, or NVFlare's process ends again and again.
        MissingExtra: NVFlare is not installed.
        KeyboardInterrupt: Ctrl-C, or SIGTERM.
    """
    connection, away = "", False  # NVFlare's own with the server; jobs have others

    def listen(line: str, pid: int) -> None:
        nonlocal connection, away
        if REGISTERED.search(line):
            tell(f"{kit.name} takes part in {kit.description.federation}; Ctrl-C leaves it.")
        elif (found := CONNECTED.search(line)) and int(found[2]) == pid:
            connection = found[1]
            if away and answers(kit):  # NVFlare calls a connection created before it knows whether anybody is there
                tell("The server answers again.")
                away = False
        elif (found := DISCONNECTED.search(line)) and int(found[2]) == pid and found[1] == connection:
            if not away:
                tell("The server does not answer any more; trying again until it does.")
            away = True

    with _in_use(kit), sigterm_interrupts():
        kit.check()
        wait_for_server(kit, tell)
        Watcher(kit, listen).run(once)


def run_server(federation: Federation, tell: Tell, *, once: bool = False) -> None:
    """Runs a federation's server until it is interrupted.

    Raises:
        FederationError: as `run_site`, or its port is taken.
        MissingExtra: NVFlare is not installed.
        KeyboardInterrupt: Ctrl-C, or SIGTERM.
    """
    kit = federation.server
    host, port = kit.description.host, kit.description.port
    state = ServerState(os.getpid())

    def listen(line: str, _: int) -> None:
        now = time.time()
        if STARTED.search(line):
            state.since, state.sites = now, {}
            tell(f"The server of {federation.name} listens at {host}:{port}.")
        elif found := JOINED.search(line):
            state.sites[found[1] or found[2]] = now
        elif found := LEFT.search(line):
            state.sites.pop(found[1], None)
        else:
            return
        write_json(_state_file(kit), asdict(state))

    def forget() -> None:
        state.since, state.sites = None, {}
        write_json(_state_file(kit), asdict(state))

    with _in_use(kit), sigterm_interrupts():
        _state_file(kit).unlink(missing_ok=True)  # of a server that was killed
        kit.check()
        check_port_free(host if is_loopback(host) else ANY_ADDRESS, port)
        local_settings.write_server_settings(kit.folder)
        try:
            write_json(_state_file(kit), asdict(state))
            Watcher(kit, listen, forget).run(once)
        finally:
            _state_file(kit).unlink(missing_ok=True)


def start_server(federation: Federation, *, once: bool = False) -> float:
    """Starts a federation's server in the background; gives the seconds until it could be reached.

    Raises:
        FederationError: it runs already, or cannot be started.
        MissingExtra: NVFlare is not installed.
    """
    kit = federation.server
    with needs_nvflare(), _in_use(kit):
        import nvflare  # noqa: F401 - else only the background process would find out

        kit.check()
    start = time.monotonic()
    command = [sys.executable, "-m", "fedbbpt", "federation", "up", str(federation.folder.absolute()), "--foreground"]
    with writing(kit.folder):
        output = (kit.folder / "up.txt").open("w+")
    with output:
        process = subprocess.Popen(
            [*command, *(["--once"] if once else [])],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        while time.monotonic() < start + START_TIMEOUT:
            if process.poll() is not None:
                output.seek(0)
                lines = output.read().strip().splitlines() or ["it says nothing"]
                raise FederationError(excerpt(lines[-1].removeprefix("Error: ")))
            state = server_state(federation)
            if state is not None and state.pid == process.pid and state.since is not None:
                return time.monotonic() - start
            time.sleep(POLL)
    process.terminate()
    raise FederationError(f"the server has not started within {START_TIMEOUT:.0f} seconds; {kit.log} says more")


def stop_server(federation: Federation) -> bool:
    """Ends a federation's server and all its processes; False if it does not run.

    Raises:
        FederationError: it does not end.
    """
    state = server_state(federation)
    if state is None:
        return False
    with needs_nvflare():
        import psutil
    try:
        process = psutil.Process(state.pid)
        process.terminate()
        process.wait(2 * STOP_TIMEOUT)
    except psutil.NoSuchProcess:  # it has ended by itself
        pass
    except psutil.TimeoutExpired as e:
        raise FederationError(f"the server does not end: kill the process {state.pid}") from e
    return True


def server_state(federation: Federation) -> ServerState | None:
    """The state of a federation's server on this machine; None if it does not run."""
    kit = federation.server
    if not is_used(kit):
        return None
    try:
        return ServerState(**json.loads(_state_file(kit).read_bytes()))
    except FileNotFoundError:  # it is about to start, or to end
        return None


def is_used(kit: Kit) -> bool:
    """Whether a process runs with a kit."""
    try:
        with _in_use(kit, timeout=0.0):
            return False
    except FederationError:
        return True


def _in_use(kit: Kit, timeout: float = LOCK_TIMEOUT) -> contextlib.AbstractContextManager[None]:
    """Holds a kit for one process."""
    busy = FederationError(f"{kit.folder} is in use: its {kit.description.role} runs already")
    return exclusive_lock(kit.folder / ".lock", busy, timeout)


def _state_file(kit: Kit) -> Path:
    return kit.folder / "state.json"


@contextlib.contextmanager
def sigterm_interrupts() -> Iterator[None]:
    """Lets SIGTERM do what Ctrl-C does, so that a process that is told to end takes along those that it started."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
