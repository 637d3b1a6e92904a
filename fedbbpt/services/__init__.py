"""Models behind a network: what a service is, and the client that everyone uses to ask one.

A `Service` knows one API: how to encode an input, and what one request holding several inputs returns. A
`ServiceClient` (`fedbbpt.services.client`) asks it: it looks up known answers, sends the rest several requests at a
time, waits where the service says so, retries failed requests, and stores every answer before it is used.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from fedbbpt.errors import BackendError
from fedbbpt.types import Float32


class StoredResponse(NamedTuple):
    """An HTTP response as it is stored: without the inputs, and without anything that may be secret."""

    key: str  # of the request: endpoint, tenant, model and body
    service: str
    tenant: str
    method: str
    url: str
    status: int
    headers: str  # some of the response's, as JSON
    content: bytes
    at: float  # seconds since the epoch
    expires: float | None  # None: never
    from_cache: bool = False  # no request was sent


class ServiceAnswer(NamedTuple):
    """A service's answer to one input. Its numbers of tokens are unchecked, see `token_count`."""

    scores: Float32  # (C,); (0,): the service has none for this input, and is not asked again
    tokens: int = 0  # input and output
    output_tokens: int = 0  # of them
    unparsed: int = 0  # 1 for an answer in words that names no class
    response: StoredResponse | None = None  # from which the answer was read, and with which it expires


NO_SCORES = ServiceAnswer(np.zeros(0, np.float32))


class TokenEstimate(NamedTuple):
    """The tokens of an input and its answer, estimated before it is sent."""

    input_tokens: int  # about
    output_tokens: int  # at most
    max_input_tokens: int  # which a budget has to reckon with


def token_count(value: object) -> int:
    """A number of tokens as a service reports it; -1 if it is no whole number.

    Impossible numbers, such as negative ones, are replaced later by what was reserved
    (`fedbbpt.services.request.with_plausible_tokens`).

    >>> [token_count(value) for value in (12, 12.0, 12.5, "12", None)]
    [12, 12, -1, -1, -1]
    """
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else -1


class Service(Protocol):
    """One API. Its methods are called from several threads at a time.

    A service whose scores of a text are its length and 1:

    >>> class LengthService:
    ...     identity = {"name": "length"}
    ...     max_inputs_per_request = 2
    ...     def encode(self, one):
    ...         return one
    ...     def estimate_tokens(self, encoded):
    ...         return TokenEstimate(len(encoded), 0, len(encoded))
    ...     def send(self, encoded, key):
    ...         return [ServiceAnswer(np.array([len(text), 1], np.float32), len(text)) for text in encoded]
    >>> [answer.scores.tolist() for answer in LengthService().send(["a", "bc"], key="k")]
    [[1.0, 1.0], [2.0, 1.0]]
    """

    identity: Mapping[str, Any]  # as JSON, all that an answer depends on beside the input: endpoint, model, options
    max_inputs_per_request: int

    def encode(self, one: Any) -> str:
        """Encodes a text, or an image (3, h, w) in [0, 1]; inputs with equal encodings are sent once."""

    def estimate_tokens(self, encoded: str) -> TokenEstimate:
        """Estimates what an encoded input takes."""

    def send(self, encoded: Sequence[str], key: str) -> list[ServiceAnswer]:
        """Sends one request with at most `max_inputs_per_request` inputs; returns their answers in the same order.

        `key` stays the same when a request is sent again: services that know idempotency keys charge for it once.

        Raises:
            RateLimited: the service asks to wait (HTTP 429, 503).
            RequestFailed: no answer, or none that can be parsed (connection, 5xx, malformed JSON); retried.
            RequestRejected: the service does not accept an input, or the way it is asked (HTTP 400, 404).
            InvalidResponse: an answer that no retry mends; it may have been charged.
            FedbbptError: any other error that no retry mends (HTTP 401), without any secret; it costs nothing.
        """


class RateLimited(Exception):  # noqa: N818 - says what happened
    """The service asks to wait.

    Args:
        retry_after: seconds, if the service says how long.
        reason: in the service's own words.
    """

    def __init__(self, retry_after: float | None = None, reason: str = "") -> None:
        super().__init__(f"the service is busy: {reason}" if reason else "the service is busy")
        self.retry_after = retry_after


class RequestFailed(Exception):  # noqa: N818 - says what happened
    """A request brought no usable answer; it may have been charged, and is retried."""


class InvalidResponse(BackendError):  # noqa: N818 - says what happened
    """An answer that cannot be used came, and a retry would bring no other; it may have been charged."""


class RequestRejected(BackendError):  # noqa: N818 - says what happened
    """The service does not accept a request: because of an input, as it says (`about_input`), or for other reasons."""

    def __init__(self, reason: str, about_input: bool = False) -> None:
        super().__init__(reason)
        self.about_input = about_input


RECOVERABLE = (RateLimited, RequestFailed, RequestRejected)  # all other errors of `Service.send` end the run
