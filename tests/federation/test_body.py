"""A split model over a federation, in memory: the sites' clients reach the body at the server."""

import json
import threading
from collections.abc import Callable
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedbbpt import registry
from fedbbpt.config import make_config
from fedbbpt.engines.worker import Worker
from fedbbpt.errors import BackendError, ConfigError
from fedbbpt.federation.body_link import BODY_URL, BodyReply, BodyRequest, ServerLink, pass_on
from fedbbpt.federation.channel import Answer, to_all
from fedbbpt.federation.messages import Request, Response
from fedbbpt.federation.server import resume_run, train_run
from fedbbpt.federation.site_host import RunTerms
from fedbbpt.run import train
from fedbbpt.run.callback import Callback
from fedbbpt.split_learning.activations import unpack
from fedbbpt.split_learning.http_retry import RetryingClient
from fedbbpt.types import Traffic
from tests.federation.in_memory import (
    Colours,
    MemoryChannel,
    Messages,
    check_same_but_for_baselines,
    open_sites,
    write_images,
)

SITES = ("berlin", "paris", "rome")
DATA = {"shots_per_class": 3, "validation_shots_per_class": 2}
LOST = Response.without_result("dropped", "it cannot be reached").to_bytes()


@pytest.fixture(autouse=True)
def colours() -> None:
    registry.register("backends", "colours", Colours)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_images(tmp_path / "data", SITES)


@pytest.fixture
def channel(tmp_path: Path, data: Path) -> MemoryChannel:
    return open_sites(tmp_path / "kits", data, share_activations=True)


def settings_of(**algorithm: Any) -> dict[str, Any]:
    return {"rounds": 2, "data": DATA, "algorithm": {"name": "sfprompt", "batch_size": 2, **algorithm}}


def train_at(channel: MemoryChannel, out: Path, callback: Callback | None = None, **algorithm: Any) -> None:
    out.mkdir(exist_ok=True)
    engine = {"name": "nvflare", "federation": "x", "min_sites": 2}
    train_run(channel, settings_of(**algorithm) | {"engine": engine}, None, out, callback or Callback())


@pytest.mark.parametrize("options", [{}, {"trainable": "linear"}, {"activation_dtype": "int8"}])
def test_a_body_at_the_server_changes_no_bit_query_or_byte(
    options: dict[str, Any], channel: MemoryChannel, data: Path, tmp_path: Path, outcome: Callable[[Path], Any]
) -> None:
    train_at(channel, tmp_path / "sites", **options)
    settings = settings_of(**options) | {"task": {"name": f"sites:{data}"}, "backend": {"name": "colours"}}
    train.train(make_config(settings), tmp_path / "simulation")
    check_same_but_for_baselines(outcome(tmp_path / "sites"), outcome(tmp_path / "simulation"))
    assert len(channel.to_server) > 20


def test_a_stopped_run_resumes_with_the_same_bits(
    channel: MemoryChannel, data: Path, tmp_path: Path, outcome: Callable[[Path], Any]
) -> None:
    train_at(channel, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train_at(open_sites(tmp_path / "other", data, share_activations=True), tmp_path / "stopped", Messages(1))
    resume_run(open_sites(tmp_path / "other", data, share_activations=True), tmp_path / "stopped", Callback())
    assert outcome(tmp_path / "stopped") == outcome(tmp_path / "whole")


def test_a_site_that_cannot_reach_the_body_misses_the_round(channel: MemoryChannel, tmp_path: Path) -> None:
    calls: list[Request] = []

    def on_request(request: Request) -> None:
        trains = request.kind == "call" and request.fields["handler"] == "train"
        calls.extend([request] * trains)
        channel.unheard = {"paris"} if trains and len(calls) == 2 else set()

    channel.on_request, messages = on_request, Messages()
    train_at(channel, tmp_path / "run", messages)
    assert "paris dropped out of round 2 (its work failed; its log says why); its update is missing" in messages.texts
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["rounds"] == 2


def test_what_the_body_sees_is_clipped_at_the_site(channel: MemoryChannel, tmp_path: Path) -> None:
    train_at(channel, tmp_path / "run", clip_norm=0.5)
    requests = [BodyRequest.of(Request.from_bytes(content)) for content in channel.to_server]
    seen = [unpack(request.content) for request in requests if request.path == "/v1/split/forward"]
    norms = np.concatenate([np.sqrt(np.square(values).sum((1, 2))) for values in seen])
    assert norms.max() == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"body_url": "http://127.0.0.1:8000"}, "its server runs the body: leave out algorithm.body_url"),
        ({"trainable": "full"}, "the body stays as it is: leave out algorithm.trainable=full"),
    ],
)
def test_a_body_elsewhere_or_one_that_is_trained_is_refused(
    options: dict[str, Any], why: str, channel: MemoryChannel, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=why):
        train_at(channel, tmp_path / "run", **options)


def test_where_sites_have_the_whole_model_nothing_goes_to_the_server(channel: MemoryChannel, tmp_path: Path) -> None:
    train_at(channel, tmp_path / "run", topology="federated", trainable="full")
    assert channel.to_server == []
    assert BODY_URL not in (tmp_path / "run" / "config.toml").read_text()


def test_the_server_answers_nothing_but_requests_to_a_body(channel: MemoryChannel, tmp_path: Path) -> None:
    train_at(channel, tmp_path / "run")
    assert channel.answer is not None
    unknown = BodyRequest("GET", "/metrics", {}, b"").to_request()
    for content in (b"", Request("ping").to_bytes(), Request("body", {"method": 1}).to_bytes(), unknown.to_bytes()):
        answer = Response.from_bytes(channel.answer(content))
        assert answer.kind == "refused"
        assert "cannot be read" in answer.reason
    late = Response.from_bytes(channel.answer(BodyRequest("GET", "/v1/split", {}, b"").to_request().to_bytes()))
    assert (late.kind, late.reason) == ("refused", "the run has ended")


def test_no_site_answers_requests_to_a_body(channel: MemoryChannel) -> None:
    request = BodyRequest("GET", "/v1/split", {}, b"").to_request()
    assert all(response.kind == "refused" for response in channel.request(to_all(request, SITES), 1.0).values())


def test_a_workers_way_to_the_server_ends_with_it(channel: MemoryChannel, tmp_path: Path) -> None:
    hosts = channel.hosts["rome"]._hosts
    hosts.terms = RunTerms("0" * 32, "", ("red",))
    before = set(threading.enumerate())
    worker = Worker(hosts.opener)  # a process of its own, in which no backend has this name
    (way,) = set(threading.enumerate()) - before
    with pytest.raises(ConfigError, match="colours"):
        worker.receive()
    worker.end()
    way.join(30)
    assert not way.is_alive()


def link_to(answer: Answer) -> ServerLink:
    """A worker's link to a server that answers so."""
    ours, theirs = Pipe()
    threading.Thread(target=pass_on, args=(ours, answer), daemon=True).start()
    return ServerLink(theirs)


def test_a_busy_body_is_asked_again() -> None:
    replies = [BodyReply(503, 0.01, b"busy"), BodyReply(200, 0.0, b"output")]
    asked: list[bytes] = []

    def answer(request: bytes) -> bytes:
        asked.append(request)
        return replies.pop(0).to_response().to_bytes()

    result = RetryingClient(link_to(answer)).request("POST", "/v1/split/forward", b"input", ticket="t")
    assert result == (200, b"output", Traffic(10, 10))
    assert asked[0] == asked[1]
    assert BodyRequest.of(Request.from_bytes(asked[0])) == ("POST", "/v1/split/forward", {"ticket": "t"}, b"input")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (LOST, "the federation's server did not run the body: it cannot be reached"),
        (b"?", "the answer of the federation's server cannot be read"),
        (Response("ok", {"status": "200", "retry_after": 0.0}).to_bytes(), "cannot be read: it is no response"),
    ],
)
def test_a_server_that_gives_no_answer_is_one_sentence(content: bytes, why: str) -> None:
    with pytest.raises(BackendError, match=why):
        RetryingClient(link_to(lambda request: content)).request("GET", "/v1/split")
