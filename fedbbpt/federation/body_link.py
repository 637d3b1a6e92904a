"""A site's way to the body at the server: from the worker process through the job's, over NVFlare's connection.

The requests are those of `fedbbpt serve-body`, but nothing listens for them, neither at the site nor at the server.
"""

from collections.abc import Mapping
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import NamedTuple

from fedbbpt.errors import BackendError
from fedbbpt.federation.channel import Answer
from fedbbpt.federation.messages import Request, Response
from fedbbpt.split_learning.http_retry import Attempt
from fedbbpt.types import Traffic
from fedbbpt.types.wire import keyed

BODY_URL = "nvflare://server"  # the body's address in the config of a run over a federation


class BodyRequest(NamedTuple):
    """A request to the body, as `fedbbpt serve-body` takes it over HTTP."""

    method: str
    path: str
    query: Mapping[str, str]
    content: bytes

    @classmethod
    def of(cls, request: Request) -> "BodyRequest":
        """Reads what `to_request` writes.

        Raises:
            ValueError: it is nothing that `to_request` writes.
        """
        keyed(request.fields, "method", "path", "query")
        method, path, query = (request.fields[name] for name in ("method", "path", "query"))
        texts = [method, path, *query, *query.values()] if isinstance(query, dict) else [None]
        if request.kind != "body" or not all(isinstance(text, str) for text in texts):
            raise ValueError("it is no request to a body")
        return cls(method, path, query, request.content)

    def to_request(self) -> Request:
        """The message to the server."""
        return Request("body", {"method": self.method, "path": self.path, "query": dict(self.query)}, self.content)


class BodyReply(NamedTuple):
    """The body's response."""

    status: int  # of HTTP
    retry_after: float  # seconds
    content: bytes

    @classmethod
    def of(cls, response: Response) -> "BodyReply":
        """Reads what `to_response` writes.

        Raises:
            ValueError: it is nothing that `to_response` writes.
        """
        keyed(response.fields, "status", "retry_after")
        status, retry_after = response.fields["status"], response.fields["retry_after"]
        if type(status) is not int or not isinstance(retry_after, float):
            raise ValueError("it is no response of a body")
        return cls(status, retry_after, response.content)

    def to_response(self) -> Response:
        """The message to the site."""
        return Response("ok", {"status": self.status, "retry_after": self.retry_after}, self.content)


class ServerLink:
    """The end in the worker process. See `Link`; what gets lost on the way is sent again by the site's process."""

    url = "the federation's server"

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def attempt(self, method: str, path: str, content: bytes, query: dict[str, str]) -> Attempt:
        """See `Link`."""
        self._connection.send_bytes(BodyRequest(method, path, query, content).to_request().to_bytes())
        try:
            response = Response.from_bytes(self._connection.recv_bytes())
            reply = BodyReply.of(response) if response.kind == "ok" else None
        except ValueError as e:
            raise BackendError(f"the answer of {self.url} cannot be read: {e}") from e
        if reply is None:
            raise BackendError(f"{self.url} did not run the body: {response.reason}")
        traffic = Traffic(up=len(content), down=len(reply.content))
        return Attempt(reply.status, reply.content, traffic, reply.retry_after, "")


def pass_on(connection: Connection, ask_server: Answer) -> None:
    """The end in the site's process: passes requests on to the server until the worker ends."""
    with connection, suppress(EOFError, OSError):
        while True:
            connection.send_bytes(ask_server(connection.recv_bytes()))
