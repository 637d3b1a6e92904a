"""The other end of `processes`: a process that opens a session, and does what it is told with its clients.

It is told a `Reopen`, then one `Call` after the other; it answers None once the session is open, then a reply to each
call, or `Failed`. All travels as pickled bytes; messages and replies in them as they write themselves.
"""

import os
import pickle
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any, NamedTuple

from fedbbpt.engines import Reopen
from fedbbpt.errors import FedbbptError


class Packed(NamedTuple):
    """What writes itself, written."""

    kind: Any  # the class that reads it
    content: bytes


class Call(NamedTuple):
    """A client's part of an exchange: a method of the algorithm, and what comes before the client."""

    method: str
    arguments: tuple[Any, ...]  # packed
    client: str


class Failed(NamedTuple):
    """What the work raised."""

    kind: type[Exception]
    arguments: tuple[Any, ...]
    traceback: str

    def error(self) -> Exception:
        """The same error again; of a bug, with where it was."""
        # Not by calling the class: ours take other arguments than the message that they make of them.
        error = self.kind.__new__(self.kind, *self.arguments)
        error.args = self.arguments  # some take them later, if at all
        if not isinstance(error, FedbbptError):
            error.add_note(f"in a worker process:\n{self.traceback}")
        return error


def pack(value: Any) -> Any:
    """As it travels: by its own `to_bytes`, where it has one and the way back."""
    if isinstance(value, int) or not hasattr(type(value), "from_bytes"):  # a number has them, too, for something else
        return value
    return Packed(type(value), value.to_bytes())


def unpack(value: Any) -> Any:
    """Inverse of `pack`."""
    return value.kind.from_bytes(value.content) if isinstance(value, Packed) else value


def main() -> None:
    """Works for the connection whose number is the only argument, until that is closed."""
    os.set_inheritable(number := int(sys.argv[1]), False)
    connection = Connection(number)
    told: SimpleQueue[bytes] = SimpleQueue()
    threading.Thread(target=_listen, args=(connection, told), daemon=True).start()
    place = _Place()
    with suppress(ConnectionError):  # nobody is there for the answer: `_listen` ends all
        connection.send_bytes(_outcome(place.open, told.get()))
        while True:
            connection.send_bytes(_outcome(place.answer, told.get()))


class _Place:
    """A session of this process's own."""

    def open(self, told: bytes) -> None:
        """Opens it, as a `Reopen` does."""
        reopen: Reopen = pickle.loads(told)
        self._algorithm, clients = reopen()
        self._clients = {client.id: client for client in clients}

    def answer(self, told: bytes) -> Any:
        """The reply to a `Call`, packed."""
        call: Call = pickle.loads(told)
        return pack(getattr(self._algorithm, call.method)(*map(unpack, call.arguments), self._clients[call.client]))


def _listen(connection: Connection, told: "SimpleQueue[bytes]") -> None:
    """Hands on what comes. Once nobody can ask any more the process ends at once, whatever it is about."""
    while True:
        try:
            told.put(connection.recv_bytes())
        except (EOFError, OSError):
            os._exit(0)


def _outcome(step: Callable[[bytes], Any], told: bytes) -> bytes:
    try:
        return pickle.dumps(step(told))
    except Exception as e:
        where = traceback.format_exc()
        try:
            return pickle.dumps(Failed(type(e), e.args, where))
        except Exception:  # it does not travel
            return pickle.dumps(Failed(RuntimeError, (f"{type(e).__name__}: {e}",), where))
