"""What a round costs with many sites, each on a machine of its own, from what was measured with few on one machine."""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from fedbbpt_benchmarks.federation.exchanges import Rounds, mean_seconds
from fedbbpt_benchmarks.federation.simulate import NO_PASSES, Costs, Exchange, Network, Passes, exchange_seconds
from fedbbpt_benchmarks.federation.sites import SitesMeasured

SITES = (10, 100, 1000)
NETWORKS = {
    "10 Mbit/s, 100 ms": Network(1e7, 0.1),
    "100 Mbit/s, 100 ms": Network(1e8, 0.1),
    "100 Mbit/s, 10 ms": Network(1e8, 0.01),
    "1 Gbit/s, 10 ms": Network(1e9, 0.01),
}
seconds_of = lru_cache(maxsize=None)(exchange_seconds)  # of many exchanges that are alike


class Traffic(NamedTuple):
    """Of a site and a round, on average over the rounds."""

    exchanges: float
    passes: float  # through the body of a split model
    down: float  # bytes to the site, those of the passes included
    up: float


def traffic(rounds: Rounds) -> Traffic:
    """What travels between the server and each site."""
    found = [(1, one.passes, one.down + one.crossed_down, one.up + one.crossed_up) for one in rounds.exchanges]
    return Traffic(*(sum(column) / rounds.rounds for column in zip(*found, strict=True)))


def round_seconds(rounds: Rounds, sites: int, costs: Costs, network: Network) -> float:
    """Seconds of a round's exchanges, on average over the rounds."""
    seconds = mean_seconds(rounds.exchanges)
    total = 0.0
    for one in rounds.exchanges:
        work, number, passes = seconds[one.handler], one.passes, NO_PASSES
        if number:
            at_body = work * rounds.body_share
            work -= at_body
            passes = Passes(number, one.crossed_up // number, one.crossed_down // number, at_body / number)
        total += seconds_of(Exchange(one.down, one.up, work, passes), sites, costs, network)
    return total / rounds.rounds


def server_memory(measured: Sequence[SitesMeasured], sites: int) -> float:
    """Bytes of the server's processes, on the straight line through what was measured."""
    slope, start = np.polyfit([one.sites for one in measured], [one.memory["server"] for one in measured], 1)
    return float(start + slope * sites)
