"""A worker process of the engine `processes`: it opens a host, and answers calls for any client."""

import os
import pickle
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedbbpt.algorithms import ClientMemory
from fedbbpt.engines import Call, ClientHost
from fedbbpt.types import Message, Update

Arrays = dict[str, NDArray[Any]]


class Sent(NamedTuple):
    """A call as it reaches a worker. The message is in its own bytes, as on any network."""

    call: Call  # without its message
    message: bytes
    body: NDArray[np.float32] | None  # of a partitioned model: see `Message.body`
    client: str
    version: int  # of the client's memory
    memory: Arrays | None  # None: the worker has this version


class Answered(NamedTuple):
    """A worker's reply to a `Sent`."""

    kind: Any  # the class that reads the reply
    reply: bytes
    body: NDArray[np.float32] | None
    version: int
    memory: Arrays | None  # None: unchanged


class Raised(NamedTuple):
    """What a worker's host raised, and where."""

    error: Exception
    traceback: str


def serve(connection: Connection, opener: Callable[[], ClientHost]) -> None:
    """Answers one call after the other, until the connection is closed; says "open" once the host is."""
    received: SimpleQueue[bytes] = SimpleQueue()
    threading.Thread(target=_listen, args=(connection, received), daemon=True).start()
    with suppress(ConnectionError):  # nobody waits for the answer: `_listen` ends the process
        try:
            answer = Answers(opener()).answer
        except Exception as e:
            connection.send_bytes(_raised(e))
            return
        connection.send_bytes(pickle.dumps("open"))
        while True:
            try:
                outcome = pickle.dumps(answer(pickle.loads(received.get())))
            except Exception as e:
                outcome = _raised(e)
            connection.send_bytes(outcome)


class Answers:
    """A host, and the memories of the clients that it served last."""

    def __init__(self, host: ClientHost) -> None:
        self._host, self._memories = host, dict[str, ClientMemory]()
        self._shared: dict[str, Any] = {}

    def answer(self, sent: Sent) -> Answered:
        """The reply, and the client's memory where the call changed it."""
        if sent.memory is not None:
            self._memories[sent.client] = ClientMemory(sent.memory, sent.version)
        memory = self._memories[sent.client]
        call = sent.call._replace(message=replace(Message.from_bytes(sent.message), body=sent.body))
        reply = self._host.answer(call, sent.client, memory, self._shared)
        changed = memory.arrays if memory.version != sent.version else None
        body = reply.body if isinstance(reply, Update) else None
        return Answered(type(reply), reply.to_bytes(), body, memory.version, changed)


def _listen(connection: Connection, received: "SimpleQueue[bytes]") -> None:
    """Takes what comes. Once nobody can ask any more the process ends at once, whatever it is doing."""
    while True:
        try:
            received.put(connection.recv_bytes())
        except (EOFError, OSError):
            os._exit(0)


def _raised(error: Exception) -> bytes:
    where = traceback.format_exc()
    with suppress(Exception):
        pickle.loads(outcome := pickle.dumps(Raised(error, where)))
        return outcome
    return pickle.dumps(Raised(RuntimeError(f"{type(error).__name__}: {error}"), where))
