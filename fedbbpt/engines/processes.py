"""Clients in processes of their own: one that is killed costs no more than its own part."""

import os
import pickle
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from multiprocessing import Pipe
from multiprocessing.connection import wait
from typing import Any

from pydantic import PositiveInt

from fedbbpt.engines import Lost, Reopen, T
from fedbbpt.engines.worker import Call, Failed, pack, unpack
from fedbbpt.errors import BackendError
from fedbbpt.types import Client

START = [sys.executable, "-P", "-c", "from fedbbpt.engines.worker import main; main()"]
# How many threads share a sum decides its last bits: each worker has as many as this process, all cores' unless
# OMP_NUM_THREADS says otherwise. Where workers thus share cores, threads that wait for others should sleep meanwhile.
THREADS = {"OMP_WAIT_POLICY": "PASSIVE"}


class Processes:
    """Clients in processes of their own, `workers` at a time: one that is killed costs its own part only.

    If a process dies in mid-round (out of memory, kill -9), its client's update is missing in this round, and the run
    says so; in the next round the client is there again, in a new process. Scores are never missing: they are asked
    for once more. What a lost update has cost is not known, and not counted. All else is as with `serial`, bit for bit.

    Each worker opens the session for itself, model and data, and keeps it. Only for methods whose clients need no more
    than a message and their own data (`portable`), such as sfprompt. Baselines are answered from memory, without it.
    """

    elsewhere = True

    def __init__(self, reopen: Reopen, /, *, workers: PositiveInt = 2) -> None:
        self._reopen, self._most = reopen, workers
        self._workers: list[_Worker] = []

    def map(self, work: Callable[[Client], T], clients: Sequence[Client], lost: Lost | None = None) -> Iterator[T]:
        """See `Engine`; `work` is a `partial` of a portable algorithm's method."""
        try:
            found = self._results(_call(work), clients, lost)
        except BaseException:
            self.close()  # what others are still about is for nobody
            raise
        return iter([found[client.id] for client in clients if client.id in found])

    def close(self) -> None:
        """Ends all workers, whatever they are about."""
        while self._workers:
            self._workers.pop().end()

    def _results(self, call: Call, clients: Sequence[Client], lost: Lost | None) -> dict[str, Any]:
        """By client; without those that got lost."""
        found: dict[str, Any] = {}
        waiting, repeated, unopened = deque(clients), set[str](), 0

        def gone(client: Client | None, how: str) -> None:
            nonlocal unopened
            if client is None:
                unopened += 1
                if unopened > self._most:
                    raise _cannot_open(how)
            elif lost is not None:
                lost(client, how)
            elif client.id in repeated:
                raise _gone_twice(client, how)
            else:
                repeated.add(client.id)
                waiting.appendleft(client)

        while waiting or any(worker.client for worker in self._workers):
            self._staff(len(waiting))
            for worker in self._workers:
                if worker.idle and waiting:
                    worker.begin(call, waiting.popleft())
            for worker in _heard(self._workers):
                try:
                    client, reply = worker.answer()
                except _Gone:
                    self._workers.remove(worker)
                    gone(worker.client, worker.end())
                else:
                    if client is None:
                        continue
                    try:
                        found[client.id] = unpack(reply)
                    except ValueError as e:
                        gone(client, f"its reply cannot be read: {e}")
        return found

    def _staff(self, waiting: int) -> None:
        """As many workers as there is work for; in place of those that have died since they were last needed, too."""
        for worker in [worker for worker in self._workers if worker.idle and not worker.alive]:
            self._workers.remove(worker)
            worker.end()
        needed = min(self._most, waiting + sum(worker.client is not None for worker in self._workers))
        while len(self._workers) < needed:
            self._workers.append(_Worker(self._reopen))


class _Gone(Exception):  # noqa: N818 - reads as what it says
    """The process has ended."""


class _Worker:
    """A process with a session of its own, for one client at a time."""

    def __init__(self, reopen: Reopen) -> None:
        self.client: Client | None = None  # whose part it is about
        self._opened = False
        self.connection, theirs = Pipe()
        environment = THREADS | os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        with theirs:  # held by the worker alone, so that its end is heard
            number = theirs.fileno()
            # Not in the terminal's foreground: Ctrl-C is for this process, which ends the others.
            self._process = subprocess.Popen(
                [*START, str(number)], stdin=subprocess.DEVNULL, pass_fds=[number], process_group=0, env=environment
            )
        self._tell(reopen)

    @property
    def idle(self) -> bool:
        """Whether it has opened its session, and has nothing to do."""
        return self._opened and self.client is None

    @property
    def alive(self) -> bool:
        """Whether the process is there."""
        return self._process.poll() is None

    def begin(self, call: Call, client: Client) -> None:
        """Gives it a client's part to do."""
        self.client = client
        self._tell(call._replace(client=client.id))

    def answer(self) -> tuple[Client | None, Any]:
        """Waits for what it has to say: a client and its reply, packed, or (None, None) once its session is open.

        Raises:
            _Gone: the process has ended.
            Exception: what was raised there.
        """
        try:
            outcome = pickle.loads(self.connection.recv_bytes())
        except (EOFError, OSError) as e:
            raise _Gone from e
        if isinstance(outcome, Failed):
            raise outcome.error()
        done, self.client, self._opened = self.client, None, True
        return done, outcome

    def end(self) -> str:
        """Kills it, unless it is gone already; says how it ended."""
        self._process.kill()
        code = self._process.wait()
        self.connection.close()
        return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"

    def _tell(self, what: object) -> None:
        with suppress(ConnectionError):  # it is gone: `answer` says so
            self.connection.send_bytes(pickle.dumps(what))


def _call(work: Any) -> Call:
    """What a worker is told of `partial(algorithm.method, …)`, but for the client."""
    method = work.func if isinstance(work, partial) else None
    if not getattr(getattr(method, "__self__", None), "portable", False):
        raise RuntimeError("another process can only do what is a partial of a portable algorithm's method")
    return Call(work.func.__name__, tuple(map(pack, work.args)), "")


def _heard(workers: Sequence[_Worker]) -> list[_Worker]:
    """Waits for those that are about something; those that have something to say, or are gone."""
    ready = wait([worker.connection for worker in workers if not worker.idle])
    return [worker for worker in workers if worker.connection in ready]


def _cannot_open(how: str) -> BackendError:
    return BackendError(
        f"the processes of engine 'processes' end before they have opened the model and the data (the last: {how}); if "
        "memory is short, start a run with a smaller -o engine.workers, or with --engine serial"
    )


def _gone_twice(client: Client, how: str) -> BackendError:
    return BackendError(
        f"the process of {client.id} ended twice before it had an answer (the last time: {how}); no round is lost: "
        "once there is memory enough, do this again, a training with --resume"
    )
