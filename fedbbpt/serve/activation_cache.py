"""Forward passes of a served body that wait for their gradients, each under a ticket that its client chose."""

import time
from collections import OrderedDict
from typing import NamedTuple

from fedbbpt.serve import HttpError
from fedbbpt.split_learning.transport import BodyRunner

MAX_ENTRIES = 64
MAX_SIZE = 2**24  # see `size_of`: 1 GiB for each block of the body, in float32
TTL = 600.0  # seconds; a client that was killed does not come back
GRACE = 60.0  # seconds for which an entry is not evicted for others
MAX_TICKET_LENGTH = 64  # characters
Shape = tuple[int, ...]


def size_of(shape: Shape) -> int:
    """The memory that the backward pass of an array (samples, tokens, width) needs, in numbers.

    Each stands for at most 60 bytes per block of a vision transformer in float32: 15 values per token and number, or,
    with many tokens, what attention keeps for all pairs of them.

    >>> size_of((4, 17, 192)), size_of((4, 400, 192))
    (13056, 640000)
    """
    samples, tokens, width = shape
    return samples * tokens * max(tokens, width)


class PendingBackward(NamedTuple):
    """A batch that went forward and waits for its gradients."""

    runner: BodyRunner
    shape: Shape  # of its output
    since: float


class ActivationCache:
    """The latest forward passes, each with the activations of a whole body; for one thread.

    There are at most `max_entries`, of at most `max_size` together, none older than `ttl` seconds. A client whose entry
    was evicted sends its batch forward again. An entry that alone is larger than `max_size` is kept without others,
    since it could never be used otherwise. None younger than `grace` seconds is evicted for others: clients that take
    turns would evict each other's for ever.
    """

    def __init__(
        self, max_entries: int = MAX_ENTRIES, ttl: float = TTL, max_size: int = MAX_SIZE, grace: float = GRACE
    ) -> None:
        self.ttl, self._max_entries, self._max_size, self._grace = ttl, max_entries, max_size, grace
        self._entries: OrderedDict[str, PendingBackward] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def make_room(self, ticket: str, shape: Shape) -> bool:
        """Evicts what has to go for an array of that shape, and says whether there is room now.

        To be called before the array goes forward, so that what is evicted and what replaces it are never in memory
        together. An entry under the same ticket is dropped.
        """
        self._entries.pop(ticket, None)
        self.evict_expired()
        room = self._max_size - size_of(shape)
        while self._entries and (len(self._entries) >= self._max_entries or self._size > room):
            if self._oldest.since > time.monotonic() - self._grace:
                return False
            self._entries.popitem(last=False)
        return True

    def put(self, ticket: str, runner: BodyRunner, shape: Shape) -> None:
        """Adds an entry, for which `make_room` has just made room."""
        self._entries[ticket] = PendingBackward(runner, shape, time.monotonic())

    def take(self, ticket: str, shape: Shape) -> BodyRunner:
        """Removes the entry and returns its runner, for gradients of that shape.

        Raises:
            HttpError: the ticket is not known (any more), or its output had another shape.
        """
        self.evict_expired()
        if (entry := self._entries.get(ticket)) is None:
            message = "this ticket is not known, or no longer; send the activations forward again, under a new ticket"
            raise HttpError(410, message, param="ticket", code="forgotten")
        if entry.shape != shape:
            raise HttpError(400, f"expected gradients of shape {entry.shape}, got {shape}", code="shape")
        return self._entries.pop(ticket).runner

    def evict_expired(self) -> None:
        """Removes the entries that are older than `ttl`."""
        while self._entries and self._oldest.since <= time.monotonic() - self.ttl:
            self._entries.popitem(last=False)

    @property
    def _oldest(self) -> PendingBackward:
        return next(iter(self._entries.values()))

    @property
    def _size(self) -> int:
        return sum(size_of(entry.shape) for entry in self._entries.values())
