"""A service on a socket, until it is told to stop."""

import asyncio
import socket
from typing import Protocol

import h11
import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.h11_impl import H11Protocol

from fedbbpt.errors import ConfigError
from fedbbpt.serve.images import bombs_are_errors
from fedbbpt.web.auth import TOKEN_VARIABLE
from fedbbpt.web.urls import is_loopback

HEADER_SECONDS = 10.0  # that the headers of a request may take, or what still comes of a body that was refused
IDLE_SECONDS = 5  # between two requests of a connection
REPLY_SECONDS = 600.0  # that a client may take to read a reply: activations are large
STOPPING_SECONDS = 5  # for requests under way when the service is to stop


class Answering(Protocol):
    """Whatever is served."""

    app: Starlette


class PunctualProtocol(H11Protocol):
    """HTTP/1.1 that ends a connection on which a request is begun and does not come on, or a reply is not read."""

    _late: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See `asyncio.Protocol`."""
        super().connection_made(transport)
        self._late = self.loop.call_later(HEADER_SECONDS, transport.close)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE and self.conn.our_state is not h11.DONE:
            self._on_time()
        elif self._late is None:
            self._late = self.loop.call_later(HEADER_SECONDS, self.transport.close)

    def pause_writing(self) -> None:
        """See `asyncio.Protocol`."""
        super().pause_writing()
        self._unread = self.loop.call_later(REPLY_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """See `asyncio.Protocol`."""
        super().resume_writing()
        self._read_on()

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._on_time()
        self._read_on()
        super().connection_lost(exc)

    def _read_on(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def _on_time(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None


def bind(host: str, port: int, token: str | None) -> socket.socket:
    """Binds a socket to an address (port 0: any free port) without listening on it yet.

    Raises:
        ConfigError: other machines could reach it without a token, or the address cannot be bound.
    """
    if token is None and not is_loopback(host):
        raise ConfigError(
            f"--host {host} can be reached from other machines, so a token is needed: set ${TOKEN_VARIABLE} or give "
            "--token-file, or leave out --host"
        )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With IPPROTO_TCP named, asyncio turns off Nagle's algorithm, which would delay every reply by 40 ms.
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
    except OSError as e:
        bound.close()
        reason = (e.strerror or str(e)).lower()
        raise ConfigError(f"cannot listen on {host} port {port} ({reason}); give another --host or --port") from e
    return bound


def url_of(bound: socket.socket) -> str:
    """The URL under which clients reach a bound socket."""
    host, port = bound.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def make_server(service: Answering) -> uvicorn.Server:
    """What serves on the sockets that its `run` is given; it logs no requests."""
    bombs_are_errors()
    config = uvicorn.Config(
        service.app,
        loop="asyncio",
        http=PunctualProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="error",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=STOPPING_SECONDS,
    )
    return uvicorn.Server(config)


def listen(service: Answering, bound: socket.socket) -> None:
    """Answers until the process is interrupted, then lets what is under way end.

    Raises:
        KeyboardInterrupt: Ctrl-C.
    """
    make_server(service).run(sockets=[bound])
