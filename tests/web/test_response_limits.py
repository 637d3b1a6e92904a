"""Replies of a real socket: how long they may take and how large they may be, for both clients alike."""

import gzip
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import httpx2
import pytest
import requests

from fedbbpt.services import InvalidResponse, RequestFailed
from fedbbpt.web import httpx2_transport, requests_adapter, response_limits
from fedbbpt.web.response_limits import MAX_BYTES, CorruptResponse, ResponseTooLarge, decode_body
from fedbbpt.web.route import Route

Say = Callable[[socket.socket], None]
Ask = Callable[[str, float], bytes]
HEAD = b"HTTP/1.1 200 OK\r\n"


@contextmanager
def server(say: Say) -> Iterator[str]:
    """Its address; to the first request it says what `say` writes."""

    def serve() -> None:
        with suppress(OSError):
            connection, _ = listening.accept()
            with connection:
                connection.recv(2**16)
                say(connection)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
    thread.join()


def ask_requests(url: str, timeout: float) -> bytes:
    route = Route(url, "url")
    with requests.Session() as session:
        requests_adapter.configure_session(session, route, 1)
        try:
            return bytes(session.post(url, timeout=requests_adapter.timeouts(timeout)).content)
        except (requests.RequestException, ResponseTooLarge) as e:
            raise route.request_error(e) from e


def ask_httpx2(url: str, timeout: float) -> bytes:
    route = Route(url, "url")
    with httpx2_transport.make_client(route, timeout, 1) as client:
        try:
            return client.post(url).content
        except (httpx2.HTTPError, ResponseTooLarge) as e:
            raise route.request_error(e) from e


both = pytest.mark.parametrize("ask", [ask_requests, ask_httpx2])


def dripping(connection: socket.socket, text: bytes) -> None:
    for i in range(len(text)):
        connection.sendall(text[i : i + 1])
        time.sleep(0.02)


@both
@pytest.mark.parametrize(
    "head",
    [
        b"",
        HEAD + b"X-Long: ",
        HEAD + b"Content-Length: 1000\r\n\r\n",
        HEAD + b"\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n1;",
    ],
)
def test_a_reply_that_drips_is_cut_off_wherever_it_does(ask: Ask, head: bytes) -> None:
    def say(connection: socket.socket) -> None:
        connection.sendall(head)
        dripping(connection, (HEAD if not head else b"") + b"x" * 1000)

    started = time.monotonic()
    with server(say) as url, pytest.raises(RequestFailed, match="did not answer"):
        ask(url, 0.1)
    assert time.monotonic() - started < 10  # it would drip for 20


@both
@pytest.mark.parametrize("packed", [False, True])
def test_a_reply_that_is_too_large_is_cut_off(ask: Ask, packed: bool) -> None:
    body = b" " * (MAX_BYTES + 1)
    content = gzip.compress(body, 1) if packed else body
    head = HEAD + (b"Content-Encoding: gzip\r\n" if packed else b"") + b"Content-Length: %d\r\n\r\n" % len(content)
    with (
        server(lambda connection: connection.sendall(head + content)) as url,
        pytest.raises(InvalidResponse, match="32 MiB"),
    ):
        ask(url, 5)


@both
def test_a_packed_reply_is_unpacked(ask: Ask) -> None:
    content = gzip.compress(b'{"a": 1}' * 100)
    head = HEAD + b"Content-Encoding: GZIP\r\nContent-Length: %d\r\n\r\n" % len(content)
    with server(lambda connection: connection.sendall(head + content)) as url:
        assert ask(url, 5) == b'{"a": 1}' * 100


@both
@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (HEAD + b"Content-Encoding: br\r\nContent-Length: 2\r\n\r\nxx", InvalidResponse),
        (HEAD + b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\nxx", RequestFailed),
        (HEAD + b"Content-Length: 10\r\n\r\nxx", RequestFailed),
        (HEAD + b"X: " + b"x" * 2**18 + b"\r\n\r\n", RequestFailed),
        (HEAD + b"X: x\r\n" * 2**15 + b"\r\n", RequestFailed),
        (b"what?\r\n\r\n", RequestFailed),
        (b"", RequestFailed),
    ],
)
def test_what_is_no_reply_is_an_error_of_ours(ask: Ask, answer: bytes, error: type[Exception]) -> None:
    with server(lambda connection: connection.sendall(answer)) as url, pytest.raises(error):
        ask(url, 5)


def test_what_is_packed_is_unpacked_a_piece_at_a_time() -> None:
    largest = 0

    def pieces() -> Iterator[bytes]:
        yield gzip.compress(b" " * 2**24)

    for piece in response_limits._decompressed(pieces(), "gzip"):
        largest = max(largest, len(piece))
    assert largest <= response_limits.CHUNK_BYTES
    assert decode_body([gzip.compress(b"a"), b"behind the end" * 9], "gzip", 1) == b"a"
    with pytest.raises(CorruptResponse, match="breaks off"):
        decode_body([gzip.compress(b"a" * 100)[:-4]], "gzip", 100)
