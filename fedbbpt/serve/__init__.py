"""Serves any backend over HTTP: clients get the bits that the backend computes in its own process.

A request passes the `middleware` and is parsed by its route's schema (`classify`, `completions`, `chat`, `embeddings`);
its inputs go to the one thread that owns the model (`batching`), and the response has the format of the route.
`split_body` serves the body of a split model behind the same middleware.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

MAX_INPUTS = 4096  # per request
MIB = 2**20


class RequestLimits(NamedTuple):
    """Bounds on requests; a request beyond them is refused."""

    max_body: int = 32 * MIB  # bytes
    max_pixels: int = 256 * MIB  # of all images of a request together, at the size at which they are sent
    concurrency: int = 64  # requests read, waiting or computed at a time
    body_timeout: float = 30.0  # seconds that a body may take to arrive


class HttpError(Exception):
    """An error response: a status and one sentence, in OpenAI's error format."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.param, self.code = status, message, param, code
        self.headers = dict(headers or {})

    @property
    def body(self) -> dict[str, Any]:
        """The JSON of the response."""
        kind = "invalid_request_error" if self.status < 500 else "server_error"
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}
