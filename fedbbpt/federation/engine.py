"""Runs clients at the sites of a real federation; NVFlare's processes carry the messages."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import PositiveFloat, PositiveInt

from fedbbpt.engines import Call, Engine, OnDropped
from fedbbpt.errors import BackendError
from fedbbpt.federation.channel import Channel, Failure
from fedbbpt.federation.messages import Request, Response
from fedbbpt.types import OutOfDate, Score, Statistics, Update

REPLIES = {kind.__name__: kind for kind in (OutOfDate, Score, Statistics, Update)}  # nothing else is read
PING = 2.0  # seconds in which a site that was away has to answer


class Quorum(NamedTuple):
    """How long the server waits for the sites, and how many it cannot go on without."""

    min_sites: int
    deadline: float  # seconds


class Nvflare(Engine):
    """Runs clients at the sites of a real federation, which `fedbbpt federation` makes.

    `federation` is its folder. A round waits at most `deadline` seconds for a site. A site that does not answer by then
    is missing in this round, and nobody waits for it again until it answers. With fewer than `min_sites` answers
    the run stops, and can be resumed. `classes` are those that the sites agree on; unset, all that any site has.
    """

    out_of_process = True
    simulates = False
    partial_scores = True

    def __init__(
        self,
        channel: Channel,
        away: Mapping[str, str],
        /,
        *,
        federation: str | None = None,
        min_sites: PositiveInt = 1,
        deadline: PositiveFloat = 600.0,
        classes: list[str] | None = None,
    ) -> None:
        self._channel, self._quorum = channel, Quorum(min_sites, deadline)
        self.away = dict(away)  # site -> since when and why it takes no part
        self.refused: set[str] = set()  # those of `away` that will not be asked again

    def send(self, call: Call, clients: Sequence[str], on_dropped: OnDropped | None = None) -> Iterator[Any]:
        """See `Engine`.

        Raises:
            BackendError: fewer than `min_sites` of the clients replied.
        """
        self._ask_those_away(clients)
        request = Request("call", {"handler": call.handler, "algorithm": call.algorithm}, call.message.to_bytes())
        responses = self.request(request, clients)
        replies, missing = [], {}
        for client in clients:
            try:
                replies.append(_reply(responses[client]))
            except ValueError as e:
                missing[client] = str(e)
        if len(replies) < min(self._quorum.min_sites, len(clients)):
            said = "; ".join(f"{client}: {why}" for client, why in missing.items())
            raise BackendError(
                f"{len(replies)} of {len(clients)} sites answered, and min_sites={self._quorum.min_sites} have to "
                f"({said}); no round is lost: once they are back, continue with --resume"
            )
        for client, why in missing.items():
            if on_dropped is not None:
                on_dropped(client, why)
        return iter(replies)

    def request(self, request: Request, sites: Sequence[str]) -> dict[str, Response | Failure]:
        """Sends a request to those sites that are there; who does not answer in time is away from now on."""
        present = [site for site in sites if site not in self.away]
        responses = self._channel.request(request, present, self._quorum.deadline) if present else {}
        for site, response in responses.items():
            if isinstance(response, Failure) or response.kind == "refused":
                self.away[site] = response.reason
                self.refused |= set() if isinstance(response, Failure) else {site}
        return {site: responses.get(site) or Failure(self.away[site]) for site in sites}

    def close(self) -> None:
        """Does nothing: the sites' processes end with NVFlare's job."""

    def _ask_those_away(self, sites: Sequence[str]) -> None:
        """Looks briefly whether sites are back, which were too slow before."""
        if asked := [site for site in sites if site in self.away and site not in self.refused]:
            for site, response in self._channel.request(Request("ping"), asked, PING).items():
                if not isinstance(response, Failure) and response.kind == "ok":
                    del self.away[site]


def _reply(response: Response | Failure) -> Any:
    """The client's reply; ValueError says why there is none."""
    if isinstance(response, Failure) or response.kind != "ok":
        raise ValueError(response.reason)
    kind: Any = REPLIES.get(str(response.fields.get("reply")))
    if kind is None:
        raise ValueError("its reply is of an unknown kind")
    try:
        return kind.from_bytes(response.content)
    except ValueError as e:
        raise ValueError(f"its reply cannot be read: {e}") from e
