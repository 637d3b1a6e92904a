"""The way between a federation's server and its sites."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from fedbbpt.errors import FederationError
from fedbbpt.federation.messages import Request, Response

Answer = Callable[[bytes], bytes]  # from a `Request` to its `Response`; never raises


@dataclass(frozen=True)
class Failure:
    """A site that sent no response; it may have done what was asked, or may still be at it."""

    reason: str  # completes "no response from SITE: "


class QuorumLost(FederationError):  # noqa: N818 - reads as what it says
    """Fewer sites answered than a round needs."""


class JobAborted(FederationError):  # noqa: N818 - reads as what it says
    """The job is to end, since somebody stopped it, or since a process without which it cannot go on has ended."""


def to_all(request: Request, sites: Sequence[str]) -> dict[str, Request]:
    """The same request to some sites."""
    return dict.fromkeys(sites, request)


class Channel(Protocol):
    """Sends requests from the server to the sites of a federation, and has those of the sites answered."""

    @property
    def sites(self) -> tuple[str, ...]:
        """The names of the sites, sorted; each is the one in the site's certificate."""
        ...

    def request(self, requests: Mapping[str, Request], timeout: float) -> dict[str, Response | Failure]:
        """Sends requests to some sites at once, and waits for all of them, at most `timeout` seconds.

        Returns what came from each site, in the order of `requests`: its response, or a failure if there was none in
        time, or none that can be read. The name of a site comes from the connection, never from what it sends.

        Raises:
            JobAborted: nobody is to be asked any more.
        """
        ...

    def answer_with(self, answer: Answer) -> None:
        """Has the requests of all sites answered from now on; several may come at a time, in any threads."""
        ...
