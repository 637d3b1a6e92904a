"""The pieces of an exchange, from what was measured with one site; and what the simulation makes of them."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import mean, median

from pydantic import BaseModel

from fedbbpt.federation.job_folder import TimedRequest
from fedbbpt.federation.loopback import site_names
from fedbbpt.federation.timing import LARGE, SMALL, WARM_UP
from fedbbpt_benchmarks.federation.simulate import Costs, Exchange, Machine, exchange_seconds
from fedbbpt_benchmarks.federation.sites import SitesMeasured


class Prediction(BaseModel):
    """The exchanges of the rounds of a federation."""

    sites: int
    exchanges: int
    measured: float  # seconds, of all of them together
    simulated: float

    @property
    def error(self) -> float:
        """Of the simulation, as a share of what was measured."""
        return self.simulated / self.measured - 1.0


def costs_of(one: SitesMeasured) -> Costs:
    """What a message and its reply take, by the processor time of the server and of the only site.

    NVFlare's echoes and our exchanges alternate, so that the processor time of both is known; each has as much of it as
    of the time. What both compute at the same time counts once. A byte costs the server as much as the site.
    """
    timing = one.timing
    echo, exchange = median(timing.echoes), median(timing.exchanges)
    byte = max(0.0, median(timing.large_echoes) - echo) / (4 * (LARGE - SMALL))  # each goes and comes, at both ends
    bytes_ = 2 * SMALL * byte  # of an exchange, at either end
    share = exchange / (echo + exchange) / (WARM_UP + len(timing.exchanges))
    server, site = (share * one.processor[member] for member in ("server", *site_names(1)))
    once = min(1.0, exchange / (server + site))
    return Costs(
        server=max(0.0, once * server - bytes_),
        server_byte=byte,
        site=max(0.0, once * site - bytes_),
        site_byte=byte,
        wait=max(0.0, exchange - server - site),
    )


def work_of(one: SitesMeasured, costs: Costs) -> dict[str, float]:
    """The seconds that a site works for a request of each kind, from a federation with one site."""
    found = defaultdict[str, list[float]](list)
    for request in rounds_of(one.timing.requests):
        way = exchange_seconds(Exchange(request.bytes_down, request.bytes_up), 1, costs)
        found[_kind(request)].append(max(0.0, request.seconds - way))
    return {kind: mean(seconds) for kind, seconds in found.items()}


def predict(measured: SitesMeasured, costs: Costs, work: Mapping[str, float], machine: Machine) -> Prediction:
    """The rounds of a federation on this machine: measured, and simulated."""
    requests = rounds_of(measured.timing.requests)
    simulated = 0.0
    for request in requests:
        exchange = Exchange(request.bytes_down, request.bytes_up // request.sites, work[_kind(request)])
        simulated += exchange_seconds(exchange, request.sites, costs, machine=machine)
    seconds = sum(request.seconds for request in requests)
    return Prediction(sites=measured.sites, exchanges=len(requests), measured=seconds, simulated=simulated)


def rounds_of(requests: Sequence[TimedRequest]) -> list[TimedRequest]:
    """The requests of all rounds; before the first one and after each, the sites save what they remember."""
    saves = [i for i, request in enumerate(requests) if request.kind == "save"]
    return list(requests[saves[0] + 1 : saves[-1] + 1])


def _kind(request: TimedRequest) -> str:
    return request.handler or request.kind
