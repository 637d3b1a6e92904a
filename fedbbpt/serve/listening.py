"""A service on a socket, until it is told to stop."""

import asyncio
import socket
from typing import Protocol

import h11
import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.h11_impl import H11Protocol

from fedbbpt.serve.pictures import bombs_are_errors

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
