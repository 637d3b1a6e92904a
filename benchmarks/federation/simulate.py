"""A simulation of one exchange: a message from a federation's server to each of its sites, and their replies.

The server handles one message after the other. Its line carries one message after the other in each direction; a site's
own line is not the narrow one. Sites that share a machine with the server share its cores with it, evenly.
"""

import heapq
import itertools
import math
from collections import defaultdict, deque
from collections.abc import Sequence
from typing import Literal, NamedTuple

Resource = Literal["server", "down", "up"]  # that serves one message at a time
BITS = 8


class Costs(NamedTuple):
    """What a message and its reply take, in seconds."""

    server: float  # of the server's CPU
    server_byte: float  # and for each byte
    site: float  # of the site's CPU
    site_byte: float
    wait: float  # of nobody


class Network(NamedTuple):
    """The server's line, and the way to the sites."""

    rate: float = math.inf  # bits per second, in each direction
    latency: float = 0.0  # seconds, one way


class Machine(NamedTuple):
    """What the server and all sites share; by default nothing."""

    cores: float = math.inf
    slowdown: float = 1.0  # of a core while all are busy, against one that is busy alone

    def speed(self, busy: int) -> float:
        """The share of a core's full speed that each of so many computations has."""
        if busy <= 1 or math.isinf(self.cores):
            return 1.0
        loss = (self.slowdown - 1.0) * min(1.0, (busy - 1) / max(1.0, self.cores - 1))
        return min(1.0, self.cores / busy) / (1.0 + loss)


INSTANT, NOT_SHARED = Network(), Machine()


class Passes(NamedTuple):
    """What each site asks, one after the other, of the body of a split model, which the server runs."""

    number: int
    up: int  # bytes of each request
    down: int  # bytes of each answer
    work: float  # seconds of the server for each


NO_PASSES = Passes(0, 0, 0, 0.0)


class Exchange(NamedTuple):
    """A message to each site and its reply."""

    down: int  # bytes, to each site
    up: int  # bytes, of each site
    work: float = 0.0  # seconds of a core at each site
    passes: Passes = NO_PASSES


class Stage(NamedTuple):
    """A part of a message's way."""

    seconds: float
    resource: Resource | None = None
    computes: bool = False


def exchange_seconds(
    exchange: Exchange, sites: int, costs: Costs, network: Network = INSTANT, machine: Machine = NOT_SHARED
) -> float:
    """Seconds from the first message until the last reply."""
    down, up, passes = exchange.down, exchange.up, exchange.passes
    work = exchange.work / (passes.number + 1)  # before each pass, and after the last
    there = [
        Stage(costs.server / 2 + costs.server_byte * down, "server", computes=True),
        Stage(BITS * down / network.rate, "down"),
        Stage(network.latency),
        Stage(costs.site + costs.site_byte * (down + up) + work, computes=True),
    ]
    through_body = [
        Stage(BITS * passes.up / network.rate, "up"),
        Stage(network.latency),
        Stage(costs.server + costs.server_byte * (passes.up + passes.down) + passes.work, "server", computes=True),
        Stage(BITS * passes.down / network.rate, "down"),
        Stage(network.latency + costs.wait),
        Stage(costs.site + costs.site_byte * (passes.up + passes.down) + work, computes=True),
    ]
    back = [
        Stage(network.latency + costs.wait),
        Stage(BITS * up / network.rate, "up"),
        Stage(costs.server / 2 + costs.server_byte * up, "server", computes=True),
    ]
    return last_end([[*there, *(through_body * passes.number), *back]] * sites, machine)


def last_end(ways: Sequence[Sequence[Stage]], machine: Machine = NOT_SHARED) -> float:
    """Seconds until all have gone their ways, which begin together; who comes first to a resource is served first."""
    numbers, now, done = itertools.count(), 0.0, 0.0
    timed: list[tuple[float, int, int, int]] = []  # when, a number, whose way, which stage
    computing: list[tuple[float, int, int, int]] = []  # the same; when is in `done`
    waiting: dict[Resource, deque[tuple[int, int]]] = defaultdict(deque)
    taken: set[Resource] = set()

    def begin(who: int, stage: int) -> None:
        if stage == len(ways[who]):
            return
        resource = ways[who][stage].resource
        if resource in taken:
            waiting[resource].append((who, stage))
            return
        if resource is not None:
            taken.add(resource)
        seconds, computes = ways[who][stage].seconds, ways[who][stage].computes
        heap, start = (computing, done) if computes else (timed, now)
        heapq.heappush(heap, (start + seconds, next(numbers), who, stage))

    for who in range(len(ways)):
        begin(who, 0)
    while timed or computing:
        speed = machine.speed(len(computing))  # of each computation, whose shares are equal: `done` counts for all
        computed = now + (computing[0][0] - done) / speed if computing else math.inf
        heap, then = (computing, computed) if not timed or computed <= timed[0][0] else (timed, timed[0][0])
        done, now = done + speed * (then - now), then
        _, _, who, stage = heapq.heappop(heap)
        if (resource := ways[who][stage].resource) is not None:
            taken.remove(resource)
            if waiting[resource]:
                begin(*waiting[resource].popleft())
        begin(who, stage + 1)
    return now
