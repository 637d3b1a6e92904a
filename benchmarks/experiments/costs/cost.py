"""What a round costs one client and its server, and how long a network takes to carry it."""

from typing import NamedTuple


class Cost(NamedTuple):
    """Of one client and one round of training; what scoring takes is not in it."""

    down: int  # bytes of the message
    up: int  # bytes of the update
    crossed_down: int  # bytes over the cuts
    crossed_up: int
    messages: int  # the message, the update, and each that crosses a cut
    client: int  # FLOPs, 2 for a multiply-add; only products of matrices and convolutions count
    server: int

    @property
    def bytes(self) -> int:
        """All that travels, either way."""
        return self.down + self.up + self.crossed_down + self.crossed_up


class Link(NamedTuple):
    """A client's way to the server."""

    down: float  # Mbit/s
    up: float
    latency: float  # seconds a message

    def seconds(self, cost: Cost) -> float:
        """How long it takes if every message waits for the one before."""
        down, up = cost.down + cost.crossed_down, cost.up + cost.crossed_up
        return 8e-6 * (down / self.down + up / self.up) + cost.messages * self.latency
