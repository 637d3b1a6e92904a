"""Runs clients in worker processes; a killed worker costs only the update of its client."""

from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from queue import SimpleQueue
from typing import Any

from pydantic import PositiveInt

from fedbbpt.engines import Call, Engine, HostFactory, Memories, OnDropped
from fedbbpt.engines.worker import PackedCall, Worker, WorkerDied
from fedbbpt.errors import BackendError

MAX_OPENINGS = 3  # of a worker, one after the other


class Processes(Engine):
    """Runs clients in `workers` processes at a time; a killed worker costs only the update of its client.

    If a worker dies during a round (out of memory, kill -9), its client's update is missing in this round, and the run
    reports it; in the next round the client takes part again, in a new process. Scores are never missing: their calls
    are retried. The usage of a lost update is unknown, and not counted. All other results are those of `serial`, bit
    for bit.

    Each worker opens the model and the data once. Any worker serves any client: the clients' memories stay in this
    process, and are sent with a call if the worker has an older version.
    """

    out_of_process = True

    def __init__(self, hosts: HostFactory, memories: Memories, /, *, workers: PositiveInt = 2) -> None:
        self._hosts, self._memories, self._limit = hosts, memories, workers
        self._idle: SimpleQueue[Worker] = SimpleQueue()
        self._workers: set[Worker] = set()
        self._stopping = False

    def send(self, call: Call, clients: Sequence[str], on_dropped: OnDropped | None = None) -> Iterator[Any]:
        """See `Engine`."""
        attempts, packed = 2 if on_dropped is None else 1, PackedCall.of(call)
        try:
            with ThreadPoolExecutor(self._limit) as threads:  # each waits for one worker at a time
                futures = [threads.submit(self._reply, packed, client, attempts) for client in clients]
                try:
                    wait(futures, return_when=FIRST_EXCEPTION)
                    replies = [future.result() for future in futures if future.done()]
                except BaseException:
                    self._stopping = True  # nobody waits for the other replies
                    threads.shutdown(wait=False, cancel_futures=True)
                    self.close()
                    raise
        finally:
            if self._stopping:
                self.close()
                self._stopping = False
        for client, reply in zip(clients, replies, strict=True):
            if isinstance(reply, WorkerDied) and on_dropped is not None:
                on_dropped(client, str(reply))
        return iter([reply for reply in replies if not isinstance(reply, WorkerDied)])

    def close(self) -> None:
        """Kills all workers."""
        while self._workers:
            self._workers.pop().end()

    def _reply(self, call: PackedCall, client: str, attempts: int) -> Any:
        """The client's reply; or, if one attempt is enough, how its worker died.

        Raises:
            BackendError: its worker died in every attempt.
        """
        for _ in range(attempts):
            worker = self._hire()
            try:
                reply = worker.ask(call, client, self._memories[client])
            except WorkerDied as e:
                died = e
                self._workers.discard(worker)
            else:
                self._idle.put(worker)
                return reply
        if attempts == 1:
            return died
        raise BackendError(
            f"the process of {client} ended twice before it had an answer (the last time: {died}); no round is lost: "
            "once there is memory enough, do this again, a training with --resume"
        )

    def _hire(self) -> Worker:
        """An idle worker, or a new one.

        Raises:
            BackendError: new workers end before they are open.
        """
        died = "the engine was closed"
        while not self._idle.empty():
            if (idle := self._idle.get()) in self._workers and idle.is_alive():
                return idle
            self._workers.discard(idle)
        for _ in range(MAX_OPENINGS):
            if self._stopping:
                break
            worker = Worker(self._hosts)
            self._workers.add(worker)
            try:
                worker.open()
            except WorkerDied as e:
                died = str(e)
                self._workers.discard(worker)
            else:
                return worker
        raise BackendError(
            f"the processes of engine 'processes' end before they have opened the model and the data (the last: {died})"
            "; if memory is short, start a run with a smaller -o engine.workers, or with --engine serial"
        )
