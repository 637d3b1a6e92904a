"""The ways back through a body, each under the ticket that its client chose."""

import time
from collections import OrderedDict
from typing import NamedTuple

from fedbbpt.serve import HttpError
from fedbbpt.split_learning.transport import BodyRunner

MOST = 64
MOST_NUMBERS = 2**24  # see `size_of`: 1 GiB for each block of the body, in float32
SECONDS = 600.0  # of a client that does not come back, say since it was killed
GRACE = 60.0  # seconds that it is given where others wait for room
LONGEST = 64  # characters of a ticket
Shape = tuple[int, ...]


def size_of(shape: Shape) -> int:
    """What it takes to keep the way back of such an array (samples, tokens, width), in numbers.

    Each stands for 60 bytes or fewer for each block of a vision transformer in float32: 15 values a token and number,
    or, of long samples, what attention keeps of all pairs of tokens.
    """
    samples, tokens, width = shape
    return samples * tokens * max(tokens, width)


class Kept(NamedTuple):
    """What has gone forward, and waits for its gradients."""

    server: BodyRunner
    shape: Shape  # of the answer
    since: float


class ActivationCache:
    """The latest ways back, for one thread: at most `most`, of at most `numbers` together, none older than `seconds`.

    Each holds the activations of a whole body. One that was dropped costs its client another pass forward. One that is
    larger than all may be is kept alone, since it could never be used otherwise. None younger than `grace` has to make
    room for others: clients that come in turn would drop each other's for ever.
    """

    def __init__(
        self, most: int = MOST, seconds: float = SECONDS, numbers: int = MOST_NUMBERS, grace: float = GRACE
    ) -> None:
        self.seconds, self._most, self._numbers, self._grace = seconds, most, numbers, grace
        self._kept: OrderedDict[str, Kept] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def make_room(self, ticket: str, shape: Shape) -> bool:
        """Whether there is room for the way back of such an array; what was under its ticket is forgotten.

        To be asked before it goes forward: else what is dropped and what comes in its place would be there together.
        """
        self._kept.pop(ticket, None)
        self.tidy()
        room = self._numbers - size_of(shape)
        while self._kept and (len(self._kept) >= self._most or self._held > room):
            if self._oldest.since > time.monotonic() - self._grace:
                return False
            self._kept.popitem(last=False)
        return True

    def keep(self, ticket: str, server: BodyRunner, shape: Shape) -> None:
        """Under this ticket from now on; for this and no other, room was made just before."""
        self._kept[ticket] = Kept(server, shape, time.monotonic())

    def take(self, ticket: str, shape: Shape) -> BodyRunner:
        """The way back for gradients of that shape, which can be gone once.

        Raises:
            HttpError: the ticket is not known (any more), or its answer had another shape.
        """
        self.tidy()
        if (kept := self._kept.get(ticket)) is None:
            message = "this ticket is not known here, or no longer; send what went forward again, under a new one"
            raise HttpError(410, message, param="ticket", code="forgotten")
        if kept.shape != shape:
            raise HttpError(400, f"gradients {shape} were sent for an answer {kept.shape}", code="shape")
        return self._kept.pop(ticket).server

    def tidy(self) -> None:
        """Forgets what is too old."""
        while self._kept and self._oldest.since <= time.monotonic() - self.seconds:
            self._kept.popitem(last=False)

    @property
    def _oldest(self) -> Kept:
        return next(iter(self._kept.values()))

    @property
    def _held(self) -> int:
        return sum(size_of(kept.shape) for kept in self._kept.values())
