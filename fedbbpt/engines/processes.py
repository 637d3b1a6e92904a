"""Clients in worker processes: one that is killed costs the update of its own client only."""

import multiprocessing
import os
import pickle
import signal
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from multiprocessing.connection import wait
from typing import Any

from pydantic import PositiveInt

from fedbbpt.algorithms import ClientMemory
from fedbbpt.engines import Call, Engine, HostFactory, Memories, OnDropped
from fedbbpt.engines.worker import Answered, Raised, Sent, serve
from fedbbpt.errors import BackendError, FedbbptError
from fedbbpt.types import Message

SPAWN = multiprocessing.get_context("spawn")
# How many threads share a sum decides its last bits: each worker has as many as this process, all cores' unless
# OMP_NUM_THREADS says otherwise. Where workers thus share cores, threads that wait for others should sleep meanwhile.
PASSIVE = "OMP_WAIT_POLICY"


class Processes(Engine):
    """Clients in worker processes, `workers` at a time: one that is killed costs its client's update only.

    If a worker dies in mid-round (out of memory, kill -9), its client's update is missing in this round, and the run
    says so; in the next round the client is there again, in a new process. Scores are never missing: they are asked for
    once more. What a lost update has cost is not known, and not counted. All else is as with `serial`, bit for bit.

    Each worker opens the model and the data for itself, and keeps them. Any worker serves any client; the clients'
    memories stay in this process, and go along with a call where the worker has an older version.
    """

    out_of_process = True

    def __init__(self, hosts: HostFactory, memories: Memories, /, *, workers: PositiveInt = 2) -> None:
        self._hosts, self._memories, self._most = hosts, memories, workers
        self._workers: list[_Worker] = []

    def send(self, call: Call, clients: Sequence[str], on_dropped: OnDropped | None = None) -> Iterator[Any]:
        """See `Engine`."""
        try:
            found = self._replies(call, clients, on_dropped)
        except BaseException:
            self.close()  # nobody waits for what the others are still doing
            raise
        return iter([found[client] for client in clients if client in found])

    def close(self) -> None:
        """Ends all workers, whatever they are doing."""
        while self._workers:
            self._workers.pop().end()

    def _replies(self, call: Call, clients: Sequence[str], on_dropped: OnDropped | None) -> dict[str, Any]:
        """By client, without those that were dropped."""
        found: dict[str, Any] = {}
        waiting, retried, unopened = deque(clients), set[str](), 0

        def gone(client: str, how: str) -> None:
            if on_dropped is not None:
                on_dropped(client, how)
            elif client in retried:
                raise _gone_twice(client, how)
            else:
                retried.add(client)
                waiting.appendleft(client)

        while waiting or any(worker.client for worker in self._workers):
            self._hire(len(waiting))
            for worker in self._workers:
                if worker.idle and waiting:
                    chosen = waiting.popleft()
                    worker.begin(call, chosen, self._memories[chosen])
            for worker in _ready([worker for worker in self._workers if not worker.idle]):
                client = worker.client
                try:
                    outcome = worker.outcome(self._memories)
                except EOFError:
                    self._workers.remove(worker)
                    how = worker.end()
                    if client is not None:
                        gone(client, how)
                    elif (unopened := unopened + 1) > self._most:
                        raise _cannot_open(how) from None
                except ValueError as e:
                    gone(client or "", f"its reply cannot be read: {e}")
                else:
                    if isinstance(outcome, Raised):
                        raise _with_traceback(outcome)
                    if client is not None:
                        found[client] = outcome
        return found

    def _hire(self, waiting: int) -> None:
        """As many workers as there is work for; new ones for those that have died since they were last needed."""
        for worker in [worker for worker in self._workers if worker.idle and not worker.process.is_alive()]:
            self._workers.remove(worker)
            worker.end()
        needed = min(self._most, waiting + sum(worker.client is not None for worker in self._workers))
        while len(self._workers) < needed:
            self._workers.append(_Worker(self._hosts))


class _Worker:
    """A worker process, seen from this one."""

    def __init__(self, hosts: HostFactory) -> None:
        self.client: str | None = None  # whom it serves
        self._opened = False
        self._versions: dict[str, int] = {}  # of the memories that it has
        self.connection, theirs = SPAWN.Pipe()
        self.process = SPAWN.Process(target=serve, args=(theirs, hosts.opener), daemon=True)
        with theirs, _inherited():  # held by the worker alone, so that its end is heard
            self.process.start()

    @property
    def idle(self) -> bool:
        """Whether its host is open, and it has nothing to do."""
        return self._opened and self.client is None

    def begin(self, call: Call, client: str, memory: ClientMemory) -> None:
        """Gives it a call to answer for a client."""
        self.client = client
        arrays = None if self._versions.get(client) == memory.version else memory.arrays
        message, bare = call.message, call._replace(message=Message(0, 0, {}))
        sent = Sent(bare, message.to_bytes(), message.body, client, memory.version, arrays)
        with suppress(ConnectionError):  # it is gone: `outcome` says so
            self.connection.send_bytes(pickle.dumps(sent))

    def outcome(self, memories: Memories) -> Any:
        """What it has to say: a reply, or what the host raised; None once its host is open.

        Raises:
            EOFError: the process has ended.
            ValueError: the reply cannot be read.
        """
        try:
            outcome = pickle.loads(self.connection.recv_bytes())
        except OSError as e:
            raise EOFError from e
        client, self.client, self._opened = self.client, None, True
        if isinstance(outcome, Raised):
            return outcome
        return None if client is None else self._accepted(outcome, client, memories[client])

    def _accepted(self, answered: Answered, client: str, memory: ClientMemory) -> Any:
        self._versions.pop(client, None)  # until the reply is known to be good
        reply = answered.kind.from_bytes(answered.reply)
        if answered.memory is not None:
            memory.arrays, memory.version = answered.memory, answered.version
        self._versions[client] = answered.version
        return reply if answered.body is None else replace(reply, body=answered.body)

    def end(self) -> str:
        """Kills it, unless it is gone already; says how it ended."""
        self.process.kill()
        self.process.join()
        self.connection.close()
        code = self.process.exitcode or 0
        return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def _ready(workers: Sequence[_Worker]) -> list[_Worker]:
    """Waits for those that have something to say, or are gone."""
    ready = wait([worker.connection for worker in workers])
    return [worker for worker in workers if worker.connection in ready]


@contextmanager
def _inherited() -> Iterator[None]:
    """What a process that is started meanwhile inherits: Ctrl-C is for this one, and threads that wait sleep."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    before = os.environ.get(PASSIVE)
    os.environ.setdefault(PASSIVE, "PASSIVE")
    try:
        yield
    finally:
        if before is None:
            del os.environ[PASSIVE]
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _with_traceback(raised: Raised) -> Exception:
    """The host's error; of a bug, with where it was."""
    if not isinstance(raised.error, FedbbptError):
        raised.error.add_note(f"in a worker process:\n{raised.traceback}")
    return raised.error


def _cannot_open(how: str) -> BackendError:
    return BackendError(
        f"the processes of engine 'processes' end before they have opened the model and the data (the last: {how}); if "
        "memory is short, start a run with a smaller -o engine.workers, or with --engine serial"
    )


def _gone_twice(client: str, how: str) -> BackendError:
    return BackendError(
        f"the process of {client} ended twice before it had an answer (the last time: {how}); no round is lost: "
        "once there is memory enough, do this again, a training with --resume"
    )
