"""All that was measured, and what follows from it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np

from fedbbpt.federation.timing import SMALL
from fedbbpt_benchmarks.federation.cores import Cores
from fedbbpt_benchmarks.federation.costs import Prediction, costs_of, predict, work_of
from fedbbpt_benchmarks.federation.exchanges import Rounds
from fedbbpt_benchmarks.federation.overhead import Overhead
from fedbbpt_benchmarks.federation.scale import NETWORKS, SITES, Traffic, round_seconds, server_memory, traffic
from fedbbpt_benchmarks.federation.simulate import Costs, Exchange, Machine, exchange_seconds
from fedbbpt_benchmarks.federation.sites import SitesMeasured


@dataclass(frozen=True)
class Latency:
    """Seconds of an exchange of 10 kB in either direction with all sites: ours, and NVFlare's alone in the same job."""

    sites: int
    p50: float
    p90: float
    echo_p50: float
    echo_p90: float
    simulated: float  # from the pieces that were measured with one site

    @property
    def ratio(self) -> float:
        """Of the medians."""
        return self.p50 / self.echo_p50


@dataclass(frozen=True)
class Results:
    """What was measured on this machine; the first federation has one site."""

    federations: Sequence[SitesMeasured]
    overhead: Overhead
    cores: Cores
    methods: Mapping[str, Rounds]

    @property
    def latencies(self) -> list[Latency]:
        """The exchanges of each federation."""
        found = []
        for one in self.federations:
            p50, p90 = map(float, np.percentile(one.timing.exchanges, [50, 90]))
            echo_p50, echo_p90 = map(float, np.percentile(one.timing.echoes, [50, 90]))
            simulated = exchange_seconds(Exchange(SMALL, SMALL), one.sites, self.costs, machine=self.machine)
            found.append(Latency(one.sites, p50, p90, echo_p50, echo_p90, simulated))
        return found

    @cached_property
    def costs(self) -> Costs:
        """The pieces of an exchange."""
        return costs_of(self.federations[0])

    @property
    def machine(self) -> Machine:
        """This one."""
        return Machine(self.cores.cores, self.cores.slowdown)

    @cached_property
    def predictions(self) -> list[Prediction]:
        """The rounds of the federations with several sites, by the pieces from the one with one site."""
        one, *others = self.federations
        work = work_of(one, self.costs)
        return [predict(other, self.costs, work, self.machine) for other in others]

    @cached_property
    def traffic(self) -> dict[str, Traffic]:
        """Of a site and a round, by method."""
        return {method: traffic(rounds) for method, rounds in self.methods.items()}

    @cached_property
    def seconds(self) -> dict[str, dict[str, dict[int, float]]]:
        """Of a round's exchanges, by method, network and number of sites."""
        return {
            method: {
                name: {sites: round_seconds(rounds, sites, self.costs, network) for sites in SITES}
                for name, network in NETWORKS.items()
            }
            for method, rounds in self.methods.items()
        }

    @cached_property
    def memory(self) -> dict[int, float]:
        """Bytes of the server, by number of sites; extrapolated from those that were measured."""
        return {sites: server_memory(self.federations, sites) for sites in SITES}

    def to_json(self) -> dict[str, Any]:
        """All figures of the tables."""
        return {
            "latencies": [{**asdict(one), "ratio": one.ratio} for one in self.latencies],
            "joined_seconds": {one.sites: one.joined for one in self.federations},
            "overhead": {
                **self.overhead.model_dump(),
                "seconds": self.overhead.seconds,
                "same": self.overhead.same,
            },
            "cores": {**self.cores.model_dump(), "slowdown": self.cores.slowdown},
            "costs": self.costs._asdict(),
            "predictions": [{**one.model_dump(), "error": one.error} for one in self.predictions],
            "traffic": {method: found._asdict() for method, found in self.traffic.items()},
            "seconds": self.seconds,
            "memory_measured": {one.sites: one.memory["server"] for one in self.federations},
            "memory_extrapolated": self.memory,
        }
