"""Runs clients at the sites of a real federation; NVFlare's processes carry the messages."""

import secrets
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any, NamedTuple

from pydantic import PositiveFloat, PositiveInt

from fedbbpt.engines import Call, Engine, OnDropped
from fedbbpt.federation.channel import Channel, Failure, QuorumLost, to_all
from fedbbpt.federation.messages import Request, Response
from fedbbpt.types import Message, OutOfDate, Received, Score, Statistics, Update

REPLIES = {kind.__name__: kind for kind in (OutOfDate, Received, Score, Statistics, Update)}  # nothing else is read
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

    extra = "federation"
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
        self._pinger = ThreadPoolExecutor(1)
        self._pings: Future[dict[str, Response | Failure]] | None = None  # to those that are away

    def send(self, call: Call, clients: Sequence[str], on_dropped: OnDropped | None = None) -> Iterator[Any]:
        """See `Engine`.

        Raises:
            QuorumLost: fewer than `min_sites` of the clients replied, and no others could.
        """
        fields = {"handler": call.handler, "algorithm": call.algorithm}
        if isinstance(call.message, Message):
            requests = to_all(Request("call", fields, call.message.to_bytes()), clients)
        else:
            requests = {client: Request("call", fields, call.to(client).to_bytes()) for client in clients}
        self._look_who_is_back(clients)
        responses = self.request(requests)
        replies, missing = [], {}
        for client in clients:
            try:
                replies.append(_reply(responses[client]))
            except ValueError as e:
                missing[client] = str(e)
            else:
                if self.on_queries is not None:
                    self.on_queries(replies[-1].usage.queries)
        others = set(self._channel.sites) - self.away.keys() - set(clients)
        if len(replies) + len(others) < min(self._quorum.min_sites, len(clients) + len(others)):
            said = "; ".join(f"{client}: {why}" for client, why in missing.items())
            raise QuorumLost(
                f"{len(replies)} of {len(clients)} sites answered, and min_sites={self._quorum.min_sites} have to "
                f"({said}); no round is lost: once they are back, continue with --resume"
            )
        for client, why in missing.items():
            if on_dropped is not None:
                on_dropped(client, why)
        return iter(replies)

    def take_letters(self, call: Call, senders: Mapping[str, Sequence[str]], template: Update) -> Iterator[Received]:
        """See `Engine`; letters go from site to site, and the server learns who has got which."""
        assert isinstance(call.message, Message)
        exchange, content = secrets.token_hex(16), call.message.to_bytes()
        writing = {sender for theirs in senders.values() for sender in theirs}
        requests = {}
        for site in sorted({*senders, *writing} - self.away.keys()):
            to = [client for client, theirs in senders.items() if site in theirs and client not in self.away]
            present = [sender for sender in senders.get(site, ()) if sender not in self.away]
            fields = {"algorithm": call.algorithm, "exchange": exchange, "to": to, "from": present}
            requests[site] = Request("letters", fields, content)
        responses = self.request(requests)
        for client, theirs in senders.items():
            try:
                received = _reply(responses[client]) if client in responses else None
            except ValueError:
                received = None
            if isinstance(received, Received):
                away = {sender: "is away" for sender in theirs if sender not in requests}
                yield replace(received, missing={**away, **received.missing})

    def request(self, requests: Mapping[str, Request]) -> dict[str, Response | Failure]:
        """Sends requests to those sites that are there; who does not answer in time is away from now on."""
        present = {site: request for site, request in requests.items() if site not in self.away}
        responses = self._channel.request(present, self._quorum.deadline) if present else {}
        for site, response in responses.items():
            if isinstance(response, Failure) or response.kind == "refused":
                self.away[site] = response.reason
                self.refused |= set() if isinstance(response, Failure) else {site}
        return {site: responses.get(site) or Failure(self.away[site]) for site in requests}

    def close(self) -> None:
        """Asks nobody any more; the sites' processes end with NVFlare's job."""
        self._pinger.shutdown(cancel_futures=True)

    def _look_who_is_back(self, clients: Sequence[str]) -> None:
        """Asks those that are away whether they can work again.

        The round does not wait for their answers, which count from the next exchange on, unless there are too few
        sites without them.
        """
        away = [client for client in clients if client in self.away and client not in self.refused]
        if away and self._pings is None:
            self._pings = self._pinger.submit(self._channel.request, to_all(Request("ping"), away), PING)
        too_few = len(clients) - len(away) < min(self._quorum.min_sites, len(clients))
        if self._pings is not None and (too_few or self._pings.done()):
            for site, response in self._pings.result().items():
                if isinstance(response, Response) and response.kind == "ok":
                    self.away.pop(site, None)
            self._pings = None


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
