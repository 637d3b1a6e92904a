"""The ways back through a body, each under the ticket that its client chose."""

import time
from collections import OrderedDict
from typing import NamedTuple

from fedbbpt.algorithms.line import Server
from fedbbpt.serve import Refusal

MOST = 64
SECONDS = 600.0  # of a client that does not come back, say since it was killed
LONGEST = 64  # characters of a ticket
Shape = tuple[int, ...]


class Kept(NamedTuple):
    """What has gone forward, and waits for its gradients."""

    server: Server
    shape: Shape  # of the answer
    since: float


class Tickets:
    """The latest ways back, for one thread: at most `most`, none older than `seconds`.

    Each holds the activations of a whole body. One that was dropped costs its client another pass forward.
    """

    def __init__(self, most: int = MOST, seconds: float = SECONDS) -> None:
        self._most, self._seconds = most, seconds
        self._kept: OrderedDict[str, Kept] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def keep(self, ticket: str, server: Server, shape: Shape) -> None:
        """Under this ticket from now on; what was under it is forgotten."""
        self._kept.pop(ticket, None)
        self._kept[ticket] = Kept(server, shape, time.monotonic())
        self._tidy()

    def take(self, ticket: str, shape: Shape) -> Server:
        """The way back for gradients of that shape, which can be gone once.

        Raises:
            Refusal: the ticket is not known (any more), or its answer had another shape.
        """
        self._tidy()
        if (kept := self._kept.get(ticket)) is None:
            message = "this ticket is not known here, or no longer; send what went forward again, under a new one"
            raise Refusal(410, message, param="ticket", code="forgotten")
        if kept.shape != shape:
            raise Refusal(400, f"gradients {shape} were sent for an answer {kept.shape}", code="shape")
        return self._kept.pop(ticket).server

    def _tidy(self) -> None:
        now = time.monotonic()
        while self._kept and (len(self._kept) > self._most or self._oldest.since < now - self._seconds):
            self._kept.popitem(last=False)

    @property
    def _oldest(self) -> Kept:
        return next(iter(self._kept.values()))
