"""Both ends of a worker process: it opens a host, and answers calls for any client, one after the other."""

import multiprocessing
import os
import pickle
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedbbpt.algorithms import ClientMemory
from fedbbpt.engines import Call, ClientHost, HostFactory
from fedbbpt.errors import FedbbptError
from fedbbpt.types import Message, Update

SPAWN = multiprocessing.get_context("spawn")
STARTING = threading.Lock()
# How many threads share a sum decides its last bits: each worker has as many as this process, all cores' unless
# OMP_NUM_THREADS says otherwise. Where workers thus share cores, threads that wait for others should sleep meanwhile.
WAIT_POLICY = "OMP_WAIT_POLICY"
Arrays = dict[str, NDArray[Any]]


class WorkerDied(Exception):  # noqa: N818 - reads as what it says
    """The process has ended, or its reply cannot be read; says how."""


class PackedCall(NamedTuple):
    """A call as it reaches a worker, packed once for all clients: the message is in its own bytes."""

    handler: str
    message: bytes
    body: NDArray[np.float32] | None  # see `Message.body`
    algorithm: str

    @classmethod
    def of(cls, call: Call) -> "PackedCall":
        """Packs a call."""
        return cls(call.handler, call.message.to_bytes(), call.message.body, call.algorithm)

    def unpacked(self) -> Call:
        """Inverse of `of`."""
        return Call(self.handler, replace(Message.from_bytes(self.message), body=self.body), self.algorithm)


class _Request(NamedTuple):
    """A call for a client."""

    call: PackedCall
    client: str
    version: int  # of the client's memory
    memory: Arrays | None  # None if the worker has this version


class _Response(NamedTuple):
    """A worker's answer to a `_Request`."""

    kind: Any  # the reply's class, which parses it
    reply: bytes
    body: NDArray[np.float32] | None
    version: int
    memory: Arrays | None  # None if unchanged


class _Raised(NamedTuple):
    """What the host raised."""

    error: Exception
    traceback: str


class Worker:
    """A worker process, seen from the engine's. Each method waits for the process."""

    def __init__(self, hosts: HostFactory) -> None:
        self._versions: dict[str, int] = {}  # of the memories that it has
        self._connection, theirs = SPAWN.Pipe()
        self._process = SPAWN.Process(target=serve, args=(theirs, hosts.opener), daemon=True)
        with theirs, _inherited():  # held by the worker alone, so that its end is heard
            self._process.start()

    def open(self) -> None:
        """Waits until the host is open.

        Raises:
            WorkerDied: the process has ended.
            Exception: whatever opening the host raised.
        """
        self._receive()

    def ask(self, call: PackedCall, client: str, memory: ClientMemory) -> Any:
        """The reply to a call; the client's memory changes with it.

        Raises:
            WorkerDied: the process has ended, or its reply cannot be read.
            Exception: whatever the host raised.
        """
        arrays = None if self._versions.get(client) == memory.version else memory.arrays
        request = _Request(call, client, memory.version, arrays)
        with suppress(ConnectionError):  # it is gone: `_receive` says so
            self._connection.send_bytes(pickle.dumps(request))
        response: _Response = self._receive()
        try:
            reply = response.kind.from_bytes(response.reply)
        except ValueError as e:
            self.end()
            raise WorkerDied(f"its reply cannot be read: {e}") from e
        if response.memory is not None:
            memory.arrays, memory.version = response.memory, response.version
        self._versions[client] = response.version
        return reply if response.body is None else replace(reply, body=response.body)

    def is_alive(self) -> bool:
        """Whether the process is there."""
        return self._process.is_alive()

    def end(self) -> str:
        """Kills the process, unless it is gone already; says how it ended."""
        self._process.kill()
        self._process.join()
        code = self._process.exitcode or 0
        return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"

    def _receive(self) -> Any:
        try:
            outcome = pickle.loads(self._connection.recv_bytes())
        except (EOFError, OSError) as e:
            raise WorkerDied(self.end()) from e
        if isinstance(outcome, _Raised):
            if not isinstance(outcome.error, FedbbptError):  # a bug: with where it was
                outcome.error.add_note(f"in a worker process:\n{outcome.traceback}")
            raise outcome.error
        return outcome


@contextmanager
def _inherited() -> Iterator[None]:
    """What a process that is started meanwhile inherits: no Ctrl-C, which is for the engine's, and a wait policy."""
    with STARTING:
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        before = os.environ.get(WAIT_POLICY)
        os.environ.setdefault(WAIT_POLICY, "PASSIVE")
        try:
            yield
        finally:
            if before is None:
                del os.environ[WAIT_POLICY]
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def serve(connection: Connection, opener: Callable[[], ClientHost]) -> None:
    """A worker's end: says "open" once the host is, then answers requests until the connection is closed."""
    received: SimpleQueue[bytes] = SimpleQueue()
    threading.Thread(target=_listen, args=(connection, received), daemon=True).start()
    memories: dict[str, ClientMemory] = {}
    shared: dict[str, Any] = {}
    host: ClientHost | None = None
    with suppress(ConnectionError):  # the other end is closed: `_listen` ends the process
        while True:
            try:
                if host is None:
                    host, outcome = opener(), pickle.dumps("open")
                else:
                    outcome = pickle.dumps(_answer(host, pickle.loads(received.get()), memories, shared))
            except Exception as e:
                outcome = _raised(e)
            connection.send_bytes(outcome)
            if host is None:
                return


def _answer(
    host: ClientHost, request: _Request, memories: dict[str, ClientMemory], shared: dict[str, Any]
) -> _Response:
    if request.memory is not None:
        memories[request.client] = ClientMemory(request.memory, request.version)
    memory = memories[request.client]
    reply = host.answer(request.call.unpacked(), request.client, memory, shared)
    changed = memory.arrays if memory.version != request.version else None
    body = reply.body if isinstance(reply, Update) else None
    return _Response(type(reply), reply.to_bytes(), body, memory.version, changed)


def _listen(connection: Connection, received: "SimpleQueue[bytes]") -> None:
    """Receives calls; ends the process at once when the connection is closed, even during a call."""
    while True:
        try:
            received.put(connection.recv_bytes())
        except (EOFError, OSError):
            os._exit(0)


def _raised(error: Exception) -> bytes:
    where = traceback.format_exc()
    with suppress(Exception):
        pickle.loads(outcome := pickle.dumps(_Raised(error, where)))
        return outcome
    return pickle.dumps(_Raised(RuntimeError(f"{type(error).__name__}: {error}"), where))
