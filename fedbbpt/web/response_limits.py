"""Limits of a response: on its total time, however slowly it drips in, and on its size after decompression."""

import math
import socket
import threading
import time
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

CONNECT_TIMEOUT = 10.0  # seconds
TOTAL_TIMEOUT_FACTOR = 2  # a whole response may take this many times the timeout between two bytes
MAX_BYTES = 32 * 2**20  # of a response, decompressed
GZIP = "gzip"  # the only encoding that is asked for and decompressed
CHUNK_BYTES = 2**16  # decompressed at a time


class ResponseTooLarge(Exception):  # noqa: N818 - says what happened
    """A response is larger than allowed, or has an encoding that was not asked for."""


class CorruptResponse(Exception):  # noqa: N818 - says what happened
    """A response is incomplete, or its bytes are not in the encoding that it names."""


class _Deadline:
    """When a request has to be over, and the sockets that it uses."""

    def __init__(self, until: float) -> None:
        self.until, self.missed = until, False
        self.sockets: list[socket.socket] = []

    def shut_down(self) -> None:
        self.missed = True
        for one in self.sockets:
            with suppress(OSError):
                socket.socket.shutdown(one, socket.SHUT_RDWR)  # of TLS sockets, too: it wakes up whoever reads


class _Watchdog:
    """Shuts down sockets at their deadline, from a thread of its own: a socket's timeout restarts with each byte."""

    def __init__(self) -> None:
        self._deadlines: set[_Deadline] = set()
        self._changed, self._next = threading.Condition(), 0.0  # when the thread looks again
        self._thread: threading.Thread | None = None

    def add(self, deadline: _Deadline) -> None:
        with self._changed:
            self._deadlines.add(deadline)
            if self._thread is None or not self._thread.is_alive():  # as after a fork
                self._thread = threading.Thread(target=self._run, name="deadlines", daemon=True)
                self._thread.start()
            elif deadline.until < self._next:
                self._changed.notify()

    def remove(self, deadline: _Deadline) -> None:
        with self._changed:
            self._deadlines.discard(deadline)

    def _run(self) -> None:
        with self._changed:
            while True:
                now = time.monotonic()
                for late in [one for one in self._deadlines if one.until <= now]:
                    late.shut_down()
                    self._deadlines.discard(late)
                self._next = min((one.until for one in self._deadlines), default=math.inf)
                self._changed.wait(None if math.isinf(self._next) else self._next - now)


_watchdog = _Watchdog()
_current = threading.local()  # .deadline: of this thread's request


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Shuts down the connections of this thread's request, if the block takes longer.

    Raises:
        TimeoutError: it took longer.
    """
    deadline = _current.deadline = _Deadline(time.monotonic() + seconds)
    error: Exception | None = None
    _watchdog.add(deadline)
    try:
        yield
    except Exception as e:
        error = e
    finally:
        _watchdog.remove(deadline)
        _current.deadline = None
    if deadline.missed:  # what looks like the end of a response may be where it was cut
        raise TimeoutError(f"the whole response took longer than {seconds:g} seconds") from error
    if error is not None:
        raise error


def watch_socket(connection: object) -> None:
    """Adds a socket to this thread's request, see `time_limit`; anything else is ignored."""
    deadline = getattr(_current, "deadline", None)
    if deadline is not None and isinstance(connection, socket.socket) and connection not in deadline.sockets:
        deadline.sockets.append(connection)


def decode_body(chunks: Iterable[bytes], encoding: str, max_bytes: int) -> bytes:
    """Joins and decompresses the chunks of a response.

    >>> decode_body([b"ab", b"c"], encoding="", max_bytes=3)
    b'abc'

    Args:
        chunks: as they came.
        encoding: the header `Content-Encoding`, or "".
        max_bytes: of the decompressed body.

    Raises:
        ResponseTooLarge: the body has more bytes, or an encoding other than gzip.
        CorruptResponse: it cannot be decompressed.
    """
    body = bytearray()
    for chunk in _decompressed(chunks, encoding.strip().lower()):
        body += chunk
        if len(body) > max_bytes:
            raise ResponseTooLarge(f"more than {max_bytes / 2**20:g} MiB")
    return bytes(body)


def _decompressed(chunks: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    if encoding in ("", "identity"):
        yield from chunks
        return
    if encoding not in (GZIP, f"x-{GZIP}"):
        raise ResponseTooLarge(f"content with the encoding {encoding[:20]!r}, which was not asked for")
    decompressor = zlib.decompressobj(zlib.MAX_WBITS | 32)
    try:
        for chunk in chunks:
            waiting = chunk
            while waiting and not decompressor.eof:
                yield decompressor.decompress(waiting, CHUNK_BYTES)
                waiting = decompressor.unconsumed_tail
        yield decompressor.flush()
    except zlib.error as e:
        raise CorruptResponse("compressed content that cannot be decompressed") from e
    if not decompressor.eof:
        raise CorruptResponse("compressed content that breaks off")
