"""Runs clients in worker processes; a killed worker costs only the update of its client."""

import pickle
from collections import deque
from collections.abc import Iterator, Sequence
from multiprocessing.connection import wait
from typing import Any

from pydantic import PositiveInt

from fedbbpt.engines import Call, Engine, HostFactory, Memories, OnDropped
from fedbbpt.engines.letters import Senders, pass_on
from fedbbpt.engines.worker import Died, Worker
from fedbbpt.errors import BackendError
from fedbbpt.types import Received, Update

MAX_FAILED_OPENINGS = 3  # while one message is answered


class Processes(Engine):
    """Runs clients in `workers` processes at a time; a killed worker costs only the update of its client.

    The client of a worker that dies (out of memory, kill -9) is dropped from the round, and takes part in the next one
    again, in a new process. Scores are never missing: they are asked for once more. All other results are those of
    `serial`, bit for bit.

    Each worker opens the model and the data once. Any worker serves any client: the clients' memories stay in this
    process, and are sent with a call if the worker has an older version.
    """

    out_of_process = True

    def __init__(self, hosts: HostFactory, memories: Memories, /, *, workers: PositiveInt = 2) -> None:
        self._hosts, self._memories, self._limit = hosts, memories, workers
        self._idle: list[Worker] = []
        self._busy: dict[Any, Worker] = {}  # by connection; they open the host, or serve a client

    def send(self, call: Call, clients: Sequence[str], on_dropped: OnDropped | None = None) -> Iterator[Any]:
        """See `Engine`."""
        pickled = pickle.dumps(call)  # once for all clients
        try:
            answers = self._ask(pickled, clients)
            if on_dropped is None:
                answers |= self._ask(pickled, [client for client in clients if isinstance(answers[client], Died)])
        except BaseException:  # an error or Ctrl-C: nobody waits for the other answers
            self.close()
            raise
        for client in clients:
            if isinstance(died := answers[client], Died):
                if on_dropped is None:
                    raise BackendError(
                        f"the process of {client} ended twice before it had an answer (the last time: {died.how}); no "
                        "round is lost: once there is memory enough, do this again, a training with --resume"
                    )
                on_dropped(client, died.how)
        return iter([answers[client] for client in clients if not isinstance(answers[client], Died)])

    def take_letters(self, call: Call, senders: Senders, template: Update) -> Iterator[Received]:
        """See `Engine`."""
        return pass_on(self, self._memories, call, senders, template)

    def close(self) -> None:
        """Kills all workers."""
        for worker in (*self._idle, *self._busy.values()):
            worker.end()
        self._idle, self._busy = [], {}

    def _ask(self, call: bytes, clients: Sequence[str]) -> dict[str, Any]:
        """Asks each client once; returns each one's reply, or `Died`.

        Raises:
            BackendError: workers die before they have opened the host.
        """
        answers, waiting = dict[str, Any](), deque(clients)
        failed: list[str] = []  # openings: how the process ended
        while missing := len(clients) - len(answers):
            while waiting and self._idle:
                if (worker := self._idle.pop()).process.is_alive():
                    self._busy[worker.connection] = worker
                    worker.ask(call, client := waiting.popleft(), self._memories[client])
            while len(self._idle) + len(self._busy) < min(missing, self._limit):
                worker = Worker(self._hosts.opener)
                self._busy[worker.connection] = worker
            busy = dict(self._busy)  # another thread may `close` the engine meanwhile
            for connection in wait(busy):
                worker = busy[connection]
                answer = worker.receive()
                self._busy.pop(connection, None)
                if worker.client is not None:
                    answers[worker.client] = answer
                if not isinstance(answer, Died):
                    self._idle.append(worker)
                    if worker.client is not None and self.on_queries is not None:
                        self.on_queries(answer.usage.queries)
                elif worker.client is None:
                    failed.append(answer.how)
            if len(failed) >= MAX_FAILED_OPENINGS:
                raise BackendError(
                    "the processes of engine 'processes' end before they have opened the model and the data (the last: "
                    f"{failed[-1]}); if memory is short, start a run with a smaller -o engine.workers, or with "
                    "--engine serial"
                )
        return answers
