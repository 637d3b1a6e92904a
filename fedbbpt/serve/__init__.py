"""Any backend as an HTTP service: who asks over a network gets the bits that the backend gives in its own process.

A request passes the `guard` and becomes a question (`classify`, `completions`, `chat`, `embeddings`); its inputs go to
the one thread that owns the model (`batching`), and what comes back is said in the shape that was asked for.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

MOST_INPUTS = 4096  # in one request
MIB = 2**20


class Limits(NamedTuple):
    """What a request may take before it is refused."""

    body: int = 32 * MIB  # bytes
    pixels: int = 256 * MIB  # of all images of a request together, as they are sent
    concurrency: int = 64  # requests that are read, wait or are answered at a time
    body_seconds: float = 30.0  # that a body may take to arrive


class Refusal(Exception):  # noqa: N818 - reads as what it says
    """What a request gets in place of an answer: a status and one sentence, in OpenAI's shape for errors."""

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
        """The reply, as JSON."""
        kind = "invalid_request_error" if self.status < 500 else "server_error"
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}
