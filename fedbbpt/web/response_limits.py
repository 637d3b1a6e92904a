"""A reply within its bounds: of time, whatever drips in meanwhile, and of size, whatever it unfolds to."""

import math
import socket
import threading
import time
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

GZIP = "gzip"  # what is asked for, and nothing else is unpacked
PIECE = 2**16  # bytes that are unpacked at a time


class TooLong(Exception):  # noqa: N818 - reads as what it says
    """A reply is larger than any should be, or packed in a way that nobody asked for."""


class Torn(Exception):  # noqa: N818 - reads as what it says
    """A reply is not whole, or its bytes are not what they are said to be."""


class _Exchange:
    """A request and its reply, and the connections that they use."""

    def __init__(self, until: float) -> None:
        self.until, self.late = until, False
        self.sockets: list[socket.socket] = []

    def cut(self) -> None:
        self.late = True
        for one in self.sockets:
            with suppress(OSError):
                socket.socket.shutdown(one, socket.SHUT_RDWR)  # of TLS, too: it wakes who reads there


class _Watch:
    """Cuts connections whose time is over, from a thread of its own: a timeout starts anew with each byte."""

    def __init__(self) -> None:
        self._exchanges: set[_Exchange] = set()
        self._changed, self._next = threading.Condition(), 0.0  # when the thread looks again
        self._thread: threading.Thread | None = None

    def add(self, exchange: _Exchange) -> None:
        with self._changed:
            self._exchanges.add(exchange)
            if self._thread is None or not self._thread.is_alive():  # as after a fork
                self._thread = threading.Thread(target=self._run, name="deadlines", daemon=True)
                self._thread.start()
            elif exchange.until < self._next:
                self._changed.notify()

    def remove(self, exchange: _Exchange) -> None:
        with self._changed:
            self._exchanges.discard(exchange)

    def _run(self) -> None:
        with self._changed:
            while True:
                now = time.monotonic()
                for late in [one for one in self._exchanges if one.until <= now]:
                    late.cut()
                    self._exchanges.discard(late)
                self._next = min((one.until for one in self._exchanges), default=math.inf)
                self._changed.wait(None if math.isinf(self._next) else self._next - now)


_watch = _Watch()
_current = threading.local()


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Ends what this thread asks in the block when so many seconds are over.

    Raises:
        TimeoutError: they are.
    """
    exchange = _current.exchange = _Exchange(time.monotonic() + seconds)
    error: Exception | None = None
    _watch.add(exchange)
    try:
        yield
    except Exception as e:
        error = e
    finally:
        _watch.remove(exchange)
        _current.exchange = None
    if exchange.late:  # what looks like an end may be where it was cut
        raise TimeoutError(f"the whole reply took longer than {seconds:g} seconds") from error
    if error is not None:
        raise error


def watch(connection: object) -> None:
    """A connection that what is asked now goes through."""
    exchange = getattr(_current, "exchange", None)
    if exchange is not None and isinstance(connection, socket.socket) and connection not in exchange.sockets:
        exchange.sockets.append(connection)


def unpacked(pieces: Iterable[bytes], encoding: str, most: int) -> bytes:
    """The content of a reply that comes in pieces, packed or not.

    Raises:
        TooLong: it has more than `most` bytes.
        Torn: it cannot be unpacked.
    """
    content = bytearray()
    for piece in _plain(pieces, encoding.strip().lower()):
        content += piece
        if len(content) > most:
            raise TooLong(f"more than {most / 2**20:g} MiB")
    return bytes(content)


def _plain(pieces: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    if encoding in ("", "identity"):
        yield from pieces
        return
    if encoding not in (GZIP, f"x-{GZIP}"):
        raise TooLong(f"content that is packed as {encoding[:20]!r}, which nobody asked for")
    unpack = zlib.decompressobj(zlib.MAX_WBITS | 32)
    try:
        for piece in pieces:
            waiting = piece
            while waiting and not unpack.eof:
                yield unpack.decompress(waiting, PIECE)
                waiting = unpack.unconsumed_tail
        yield unpack.flush()
    except zlib.error as e:
        raise Torn("content that cannot be unpacked") from e
    if not unpack.eof:
        raise Torn("packed content that breaks off")
