"""The line to a body that another process holds: `fedbbpt serve --split body`."""

from typing import NamedTuple

from fedbbpt.algorithms.line import Line, Wire


class Cut(NamedTuple):
    """What client and server have to agree on."""

    identity: str  # of the body, see `Split`
    head: int
    tail: int


class Remote:
    """The server's end of all lines of a process."""

    def __init__(self, url: str, wire: Wire, cut: Cut) -> None:
        self._url, self._wire, self._cut = url, wire, cut

    def line(self, *, back: bool) -> Line:
        """A line for one client and round; with `back`, gradients will follow what goes forward."""
        raise NotImplementedError
