"""Models behind a network: what a service is, and the client that everyone uses to ask one.

A `Service` knows one API: how to encode an input, and what one request holding several inputs returns. A `Desk`
(`fedbbpt.services.client`) asks it: it looks up known answers, sends the rest several requests at a time, waits where
the service says so, retries lost requests, and stores every answer before it is used.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, cast

import numpy as np

from fedbbpt.errors import BackendError
from fedbbpt.types import Float32, Usage

if TYPE_CHECKING:
    from fedbbpt.services.client import Desk


class Exchange(NamedTuple):
    """A request and its response, as far as they are kept: neither the inputs nor a secret."""

    key: str  # by endpoint, tenant, model and body
    service: str
    tenant: str
    method: str
    url: str
    status: int
    headers: str  # some of the response's, as JSON
    content: bytes
    at: float
    expires: float | None  # None: never
    known: bool = False  # nobody was asked


class Reply(NamedTuple):
    """What a service says to one input. What it says of tokens may be anything: see `counted`."""

    scores: Float32  # (C,); (0,): the service has none for this input, and is not asked again
    tokens: int = 0  # input and output
    output_tokens: int = 0  # of them
    unparsed: int = 0  # 1 for an answer in words that names no class
    source: Exchange | None = None  # with which it lives and expires


NO_SCORES = Reply(np.zeros(0, np.float32))


class Size(NamedTuple):
    """How large a question is, before it is asked."""

    read: int  # tokens, about
    output_tokens: int  # at most
    longest: int  # tokens read, at most: what a budget has to reckon with


def counted(said: object) -> int:
    """What a service says of how many tokens it took; -1 for what is no number of tokens.

    `Asking` replaces what cannot be, such as a negative number, by what was reserved.
    """
    if isinstance(said, float) and said.is_integer():
        return int(said)
    return said if isinstance(said, int) and not isinstance(said, bool) else -1


class Service(Protocol):
    """One API. Used by several threads at a time."""

    identity: Mapping[str, Any]  # all that an answer depends on beside the input, as JSON: endpoint, model, options
    max_inputs_per_request: int  # most inputs in one request

    def encode(self, one: Any) -> str:
        """A text, or an image (3, h, w) in [0, 1], as it is sent; what is equal here is asked about once."""

    def size(self, encoded: str) -> Size:
        """What an input takes, estimated."""

    def send(self, encoded: Sequence[str], key: str) -> list[Reply]:
        """One request about at most `max_inputs_per_request` inputs, and the replies in their order.

        `key` is the same when the same request is sent again: a service that knows idempotency keys charges it once.

        Raises:
            Busy: not now (HTTP 429, 503).
            Lost: no answer, or none that can be read (connection, 5xx, malformed JSON).
            Refused: the service does not take the request, be it for an input or for how it is asked (HTTP 400, 404).
            FedbbptError: what no repetition mends (HTTP 401), in one sentence without any secret; it costs nothing.
            Spoilt: as that, but an answer came, and may have been charged.
        """


class Charging(Protocol):
    """What a run needs of a backend that asks a service, beside `Backend`."""

    desk: "Desk"

    @property
    def preparation(self) -> Usage:
        """What `prepare` will ask, at most; once it has asked, exactly."""

    @property
    def finds_out(self) -> bool:
        """Whether what `prepare` will ask depends on the answers."""

    def prepare(self) -> None:
        """Asks what has to be known before the first query, and completes `info`."""


def charging(backend: object) -> Charging | None:
    """The backend, if it asks a service."""
    return cast(Charging, backend) if hasattr(backend, "desk") else None


class Busy(Exception):  # noqa: N818 - reads as what it says
    """The service asks to wait, for so many seconds if it says so; why, in its own words."""

    def __init__(self, after: float | None = None, said: str = "") -> None:
        super().__init__(f"the service is busy: {said}" if said else "the service is busy")
        self.after = after


class Lost(Exception):  # noqa: N818 - reads as what it says
    """A request brought no usable answer; it may have been charged."""


class Spoilt(BackendError):  # noqa: N818 - reads as what it says
    """An answer came that cannot be used, nor will another one; it may have been charged."""


class Refused(BackendError):  # noqa: N818 - reads as what it says
    """The service does not take a request: for an input, and says so (`about_input`), or for reasons of its own."""

    def __init__(self, said: str, about_input: bool = False) -> None:
        super().__init__(said)
        self.about_input = about_input
