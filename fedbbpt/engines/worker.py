"""A worker process: it opens a host, and answers calls for any client, one after the other."""

import multiprocessing
import os
import pickle
import signal
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

from fedbbpt.algorithms import ClientMemory
from fedbbpt.engines import ClientHost
from fedbbpt.errors import FedbbptError

SPAWN = multiprocessing.get_context("spawn")


class Died(NamedTuple):
    """Takes the place of an answer if the process has ended."""

    how: str


class Worker:
    """The engine's end of a worker process, which sends an answer once it has opened the host, and one to each call.

    Attributes:
        connection: can be read once there is an answer, or the process has ended.
        client: whom the last call was for; None before the first.
    """

    def __init__(self, opener: Callable[[], ClientHost]) -> None:
        self.client: str | None = None
        self._versions: dict[str, int] = {}  # of the memories that the process has
        self.connection, theirs = SPAWN.Pipe()
        self.process = SPAWN.Process(target=_serve, args=(theirs, opener), daemon=True)
        resource_tracker.ensure_running()  # otherwise the first `start` does it, and unblocks SIGINT
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # is inherited: Ctrl-C is for the engine
        try:
            self.process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            theirs.close()  # the process alone has it open from now on, so that reading fails when it ends

    def ask(self, call: bytes, client: str, memory: ClientMemory) -> None:
        """Sends a pickled `Call` for a client, with the client's memory if the process has an older version."""
        known = self._versions.get(client) == memory.version
        self.client, self._memory = client, memory
        with suppress(ConnectionError):  # it has ended: `receive` says how
            self.connection.send_bytes(call)
            self.connection.send((client, None if known else memory))

    def receive(self) -> Any:
        """Waits for the answer: None from an open host, the reply to a call (with it the memory changes), or `Died`.

        Raises:
            Exception: what the host raised; the worker is of no more use.
        """
        try:
            answer = self.connection.recv()
        except (EOFError, OSError):
            return Died(self.end())
        if isinstance(answer, Exception):
            raise answer
        if self.client is None:
            return None
        reply, newer = answer
        if newer is not None:
            self._memory.arrays, self._memory.version = newer.arrays, newer.version
        self._versions[self.client] = self._memory.version
        return reply

    def end(self) -> str:
        """Kills the process, unless it has ended already; says how it ended."""
        self.process.kill()
        self.process.join()
        code = self.process.exitcode or 0
        return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def _serve(connection: Connection, opener: Callable[[], ClientHost]) -> None:
    """The worker's end: answers until the host raises an exception, or the engine's end is closed."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # How many threads share a sum decides its last bits, so each worker has as many as the engine's process. As
    # workers thus share cores, threads that wait for others should sleep. OpenMP reads this when the host loads it.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    memories: dict[str, ClientMemory] = {}
    shared: dict[str, Any] = {}
    with suppress(ConnectionError):  # the engine's end is closed
        try:
            host = opener()
            connection.send(None)
            while True:
                call, (client, newer) = connection.recv(), connection.recv()
                memory = memories[client] = newer or memories[client]
                version = memory.version
                reply = host.answer(call, client, memory, shared)
                connection.send((reply, memory if memory.version != version else None))
        except Exception as error:
            connection.send(_picklable(error))


def _end_with_parent() -> None:
    if parent := multiprocessing.parent_process():
        parent.join()
    os._exit(0)  # even during a call


def _picklable(error: Exception) -> Exception:
    """The error, or what it says if it cannot be pickled; if it is a bug, with its traceback as a note."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        error = RuntimeError(f"{type(error).__name__}: {error}")
    if not isinstance(error, FedbbptError):
        error.add_note(f"in a worker process:\n{traceback.format_exc()}")
    return error
