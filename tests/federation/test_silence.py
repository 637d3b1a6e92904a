"""How long the server waits for a site: as long as the site says that it is at work, and no longer."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

pytest.importorskip("nvflare", exc_type=ImportError)

from nvflare.apis.fl_constant import ReturnCode
from nvflare.apis.shareable import Shareable, make_reply
from nvflare.apis.signal import Signal

from fedbbpt.federation import flare
from fedbbpt.federation.channel import Failure, JobAborted, to_all
from fedbbpt.federation.flare import CONTENT, FlareChannel
from fedbbpt.federation.messages import Request, Response

POLL = 0.01  # seconds


class Context:
    """What NVFlare's context is for here: it holds the signal that ends a wait."""

    def put(self, key: str, value: Signal, private: bool, sticky: bool) -> None:
        """See `FLContext`."""
        self.signal = value


class Engine:
    """NVFlare's engine, with a site that works, is dead, or answers at once."""

    def __init__(self) -> None:
        self.dead: set[str] = set()
        self.takes = dict.fromkeys("abc", 0.0)  # seconds for a call

    @contextmanager
    def new_context(self) -> Iterator[Context]:
        """See NVFlare."""
        yield Context()

    def send_aux_request(
        self, targets: list[str], topic: str, message: Shareable, timeout: float, fl_ctx: Context
    ) -> dict[str, Shareable]:
        """Answers in time, or when the wait is ended."""
        (site,), start = targets, time.monotonic()
        is_ping = Request.from_bytes(message[CONTENT]).kind == "ping"
        needs = float("inf") if site in self.dead else 0.0 if is_ping else self.takes[site]
        while not fl_ctx.signal.triggered and time.monotonic() < start + min(timeout, needs):
            time.sleep(POLL)
        if fl_ctx.signal.triggered or needs > timeout:
            return {site: make_reply(ReturnCode.TIMEOUT)}
        reply = make_reply(ReturnCode.OK)
        reply[CONTENT] = Response().to_bytes()
        return {site: reply}


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    for name, seconds in {"PING_INTERVAL": 0.05, "PING_TIMEOUT": 0.05, "SILENCE": 0.5}.items():
        monkeypatch.setattr(flare, name, seconds)
    return Engine()


@pytest.fixture
def ask(engine: Engine) -> Callable[..., Any]:
    """`ask(timeout)`: what comes from a, b and c, and the seconds that it took."""
    channel = FlareChannel(engine, "abc", {"a", "b", "c"}, aborted := Signal())

    def request(timeout: float = 60.0, *, abort: bool = False) -> tuple[dict[str, Any], float]:
        if abort:
            aborted.trigger(True)
        start = time.monotonic()
        return channel.request(to_all(Request("call"), "abc"), timeout), time.monotonic() - start

    return request


def test_a_site_without_a_sign_of_life_is_waited_for_once(engine: Engine, ask: Callable[..., Any]) -> None:
    engine.dead = {"b"}
    found, seconds = ask()
    assert found == {"a": Response(), "b": Failure("it gave no sign of life for 0 seconds"), "c": Response()}
    assert 0.5 <= seconds < 5
    found, seconds = ask()
    assert isinstance(found["b"], Failure)
    assert seconds < 0.5
    engine.dead = set()
    assert ask()[0] == dict.fromkeys("abc", Response())


def test_a_site_at_work_is_waited_for_until_the_deadline(engine: Engine, ask: Callable[..., Any]) -> None:
    engine.takes["c"] = 2.0
    assert ask()[0]["c"] == Response()
    found, seconds = ask(timeout=1.0)
    assert found["c"] == Failure("it did not answer in time")
    assert 1.0 <= seconds < 2.0


def test_an_aborted_job_waits_for_nobody(engine: Engine, ask: Callable[..., Any]) -> None:
    engine.dead = {"a"}
    start = time.monotonic()
    with pytest.raises(JobAborted):
        ask(abort=True)
    assert time.monotonic() - start < 0.5
