"""Runs a service on a socket until a signal stops it."""

import asyncio
import socket
from typing import Protocol

import h11
import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.h11_impl import H11Protocol

from fedbbpt.errors import ConfigError
from fedbbpt.serve.images import refuse_decompression_bombs
from fedbbpt.web.auth import TOKEN_VARIABLE
from fedbbpt.web.urls import is_loopback

HEADER_TIMEOUT = 10.0  # seconds for the headers of a request, or for the rest of a body that was refused
KEEP_ALIVE_TIMEOUT = 5  # seconds between two requests on a connection
WRITE_TIMEOUT = 600.0  # seconds that a client may take to read a response: activations are large
SHUTDOWN_TIMEOUT = 5  # seconds for requests in progress when the server stops


class WebService(Protocol):
    """Anything with an ASGI application."""

    app: Starlette


class TimeoutProtocol(H11Protocol):
    """HTTP/1.1 that closes a connection whose request stalls, or whose response is not read."""

    _stalled: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See `asyncio.Protocol`."""
        super().connection_made(transport)
        self._stalled = self.loop.call_later(HEADER_TIMEOUT, transport.close)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE and self.conn.our_state is not h11.DONE:
            self._cancel_stalled()
        elif self._stalled is None:
            self._stalled = self.loop.call_later(HEADER_TIMEOUT, self.transport.close)

    def pause_writing(self) -> None:
        """See `asyncio.Protocol`."""
        super().pause_writing()
        self._unread = self.loop.call_later(WRITE_TIMEOUT, self.transport.abort)

    def resume_writing(self) -> None:
        """See `asyncio.Protocol`."""
        super().resume_writing()
        self._cancel_unread()

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._cancel_stalled()
        self._cancel_unread()
        super().connection_lost(exc)

    def _cancel_unread(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def _cancel_stalled(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None


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


def make_server(service: WebService) -> uvicorn.Server:
    """A server for the sockets that its `run` is given; it logs no requests."""
    refuse_decompression_bombs()
    config = uvicorn.Config(
        service.app,
        loop="asyncio",
        http=TimeoutProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="error",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_TIMEOUT,
        timeout_graceful_shutdown=SHUTDOWN_TIMEOUT,
    )
    return uvicorn.Server(config)


def serve_until_interrupted(service: WebService, bound: socket.socket) -> None:
    """Answers requests until the process is interrupted, then lets those in progress end.

    Raises:
        KeyboardInterrupt: Ctrl-C.
    """
    make_server(service).run(sockets=[bound])
