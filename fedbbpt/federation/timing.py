"""Measures inside a job what an exchange with its sites takes; a job that does not ask for it runs nothing of it."""

import time
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from fedbbpt.engines import TUNED
from fedbbpt.errors import FederationError
from fedbbpt.federation.channel import Answer, Channel, Failure, to_all
from fedbbpt.federation.job_folder import TimedRequest, Timing
from fedbbpt.federation.messages import Request, Response
from fedbbpt.federation.site_host import ECHO
from fedbbpt.types import Message

SMALL, LARGE = 10_000, 1_000_000  # bytes, about, of a message in either direction
WARM_UP = 3  # messages of each kind, not counted
TIMEOUT = 60.0  # seconds


class EchoingChannel(Channel, Protocol):
    """A channel whose sites can also send a message back at once."""

    def echo(self, content: bytes, sites: Sequence[str], timeout: float) -> bool:
        """Sends a message to some sites at once; whether all of them have sent it back."""
        ...


class TimedChannel:
    """A channel that keeps what each request takes, and measures exchanges as soon as the sites have opened a run."""

    def __init__(self, channel: EchoingChannel, exchanges: int) -> None:
        self._channel, self._exchanges = channel, exchanges
        self.timing = Timing(began=time.time())

    @property
    def sites(self) -> tuple[str, ...]:
        """See `Channel`."""
        return self._channel.sites

    def request(self, requests: Mapping[str, Request], timeout: float) -> dict[str, Response | Failure]:
        """See `Channel`."""
        at, start = time.time(), time.perf_counter()
        responses = self._channel.request(requests, timeout)
        request = next(iter(requests.values()))
        seconds = time.perf_counter() - start
        answered = [response for response in responses.values() if isinstance(response, Response)]
        self.timing.requests.append(
            TimedRequest(
                kind=request.kind,
                handler=request.fields.get("handler"),
                at=at,
                seconds=seconds,
                sites=len(requests),
                bytes_down=len(request.to_bytes()),
                bytes_up=sum(len(response.to_bytes()) for response in answered),
            )
        )
        if request.kind == "open":
            self._measure([site for site, response in responses.items() if response in answered])
        return responses

    def answer_with(self, answer: Answer) -> None:
        """See `Channel`."""
        self._channel.answer_with(answer)

    def _measure(self, sites: Sequence[str]) -> None:
        message = Message(0, 0, {"content": np.zeros(SMALL, np.uint8)})
        request = Request("call", {"handler": ECHO, "algorithm": TUNED}, message.to_bytes())
        small, large = request.to_bytes(), bytes(LARGE)
        timing, begin = self.timing, time.time()
        for i in range(WARM_UP + self._exchanges):
            echo, exchange = self._echo(small, sites), self._exchange(request, sites)
            if i >= WARM_UP:
                timing.echoes.append(echo)
                timing.exchanges.append(exchange)
        timing.echoes_at = begin, time.time()
        timing.large_echoes += [self._echo(large, sites) for _ in range(max(1, self._exchanges // 10))]

    def _echo(self, content: bytes, sites: Sequence[str]) -> float:
        start = time.perf_counter()
        whole = self._channel.echo(content, sites, TIMEOUT)
        seconds = time.perf_counter() - start
        if not whole:
            raise FederationError("a site has not sent back what it got; its exchanges cannot be measured")
        return seconds

    def _exchange(self, request: Request, sites: Sequence[str]) -> float:
        start = time.perf_counter()
        responses = self._channel.request(to_all(request, sites), TIMEOUT)
        seconds = time.perf_counter() - start
        for site, response in responses.items():
            if isinstance(response, Failure) or response.content != request.content:
                raise FederationError(f"{site} has not sent back what it got; its exchanges cannot be measured")
        return seconds
