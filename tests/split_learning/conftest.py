"""A toy model in three parts, methods on it, a server for its body, and a client's transport to that."""

import threading
from contextlib import ExitStack
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from fedbbpt.algorithms import AlgorithmContext
from fedbbpt.objective import Objective
from fedbbpt.optim.spsa import SpsaGC
from fedbbpt.prompts.none import NoPrompt
from fedbbpt.readouts.none import NoReadout
from fedbbpt.serve import RequestLimits
from fedbbpt.serve.batching import model_thread
from fedbbpt.serve.server import bind, make_server
from fedbbpt.serve.split_body import BodyService, ServedBody
from fedbbpt.split_learning import transport
from fedbbpt.split_learning.activations import pack
from fedbbpt.split_learning.http_link import HttpLink
from fedbbpt.split_learning.http_transport import CutSpec, RemoteBody
from fedbbpt.split_learning.sfprompt import SFPrompt
from fedbbpt.split_learning.transport import BodyRunner, InProcessTransport
from fedbbpt.testing import PartitionableToy, Simulation
from fedbbpt.testing.partitionable import PartitionedToy
from fedbbpt.types import Update

LIMITS = RequestLimits()
CUT = CutSpec("toy 6", 1, 1)


@pytest.fixture(autouse=True)
def _no_token(monkeypatch):
    monkeypatch.delenv("FEDBBPT_TOKEN", raising=False)


@pytest.fixture
def toy():
    """`toy(width, max_batch)`: the toy backend, which can be partitioned."""
    return PartitionableToy


def _objective(backend, prompt=None, readout=NoReadout, classes=None):
    info = backend.info
    return Objective(info, prompt or NoPrompt(info.input_size), readout(info, classes or info.classes), backend)


@pytest.fixture
def method(toy):
    """`method(backend, prompt=, readout=, classes=, seed=, **options)`: the algorithm on the toy model."""

    def build(backend=None, *, seed=5, num_prompt_tokens=2, prompt=None, readout=NoReadout, classes=None, **options):
        objective = _objective(backend or toy(), prompt, readout, classes)
        context = AlgorithmContext(objective, SpsaGC, seed, objective.backend)
        return SFPrompt(context, num_prompt_tokens=num_prompt_tokens, **options)

    return build


@pytest.fixture
def simulate(method, toy):
    """`simulate(clients, backend, rebuild=, engine=, **options)`: rounds of `method` over clients."""

    def start(clients, backend=None, *, rebuild=False, engine=None, **options):
        backend = backend or toy()
        make = partial(method, backend, **options)
        return Simulation(make, _objective(backend), clients, rebuild=rebuild, engine=engine)

    return start


@pytest.fixture
def packed(monkeypatch):
    """The lengths of all messages that are packed from now on."""
    lengths = []

    def recorded(values, dtype):
        message = pack(values, dtype)
        lengths.append(len(message))
        return message

    monkeypatch.setattr(transport, "pack", recorded)
    return lengths


@pytest.fixture(scope="session")
def updates():
    """`updates(simulation)`: all that the clients sent, where only bytes travel (`rebuild`)."""
    return lambda simulation: [Update.from_bytes(content) for _, content in simulation.engine.replies]


@pytest.fixture(scope="session")
def make_split():
    """The class of the model in three parts."""
    return PartitionedToy


class Host:
    """A process's worth of server: a service on a port of this machine, which can be stopped and started again.

    `up` and `down` count the bytes of all bodies of messages that it got and gave.
    """

    def __init__(self):
        self.port, self.up, self.down, self._running = 0, 0, 0, ExitStack()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def start(self, make, token=None):
        """`make(thread)`: a fresh service; whatever was kept by the one before is gone."""
        with ExitStack() as running:
            socket = running.enter_context(bind("127.0.0.1", self.port, token))
            service = make(running.enter_context(model_thread()))
            running.callback(service.close)
            server = make_server(SimpleNamespace(app=self._counted(service.app)))
            socket.listen()
            self.port = socket.getsockname()[1]
            thread = threading.Thread(target=server.run, args=([socket],))
            thread.start()
            running.callback(thread.join)
            running.callback(setattr, server, "should_exit", True)
            self._running = running.pop_all()
        return service

    def stop(self):
        self._running.close()

    def _counted(self, app):
        async def counting(scope, receive, send):
            counted = scope["path"].startswith("/v1/split/")

            async def receiving():
                message = await receive()
                self.up += len(message.get("body", b"")) * counted
                return message

            async def sending(message):
                self.down += len(message.get("body", b"")) * counted
                await send(message)

            await app(scope, receiving, sending)

        return counting


@pytest.fixture
def host():
    """Where a service can be started and stopped."""
    started = Host()
    yield started
    started.stop()


@pytest.fixture
def serve(host):
    """`serve(split, head, tail, limits=, token=)`: a fresh service for a body, on the same port every time."""

    def start(split=None, head=1, tail=1, *, limits=LIMITS, token=None):
        split = split or PartitionedToy(0, 1, 6, [])
        return host.start(
            lambda thread: BodyService(thread, ServedBody(split, "toy", head, tail), limits, token), token
        )

    return start


@pytest.fixture
def connect(host):
    """`connect(dtype, cut, backward, url)`: a client's transport to the host."""

    def make(dtype="float32", cut=CUT, backward=True, url=None):
        return RemoteBody(HttpLink(url or host.url), dtype, cut).transport(backward=backward)

    return make


@pytest.fixture
def values():
    """A client's activations."""
    return np.random.default_rng(0).normal(size=(3, 5, 6)).astype(np.float32)


@pytest.fixture
def gradients():
    """The gradients of the loss with respect to what the body makes of `values`."""
    return np.random.default_rng(1).normal(size=(3, 5, 6)).astype(np.float32)


@pytest.fixture
def expected(make_split, values, gradients):
    """What the body makes of `values` and then of `gradients` in this process."""
    split = make_split(0, 1, 6, [])
    local = InProcessTransport(BodyRunner(split, split.init(0)["body"], frozenset({"prompt"}), 0.0))
    return SimpleNamespace(forward=local.forward(values), backward=local.backward(gradients))


@pytest.fixture
def answer_with(host):
    """`answer_with(*responses)`: a server that sends one response after the other, and the last one from then on."""

    def start(*responses):
        left = list(responses)

        async def answer(request):
            await request.body()
            return left.pop(0) if len(left) > 1 else left[0]

        app = Starlette(routes=[Route("/{path:path}", answer, methods=["GET", "POST"])])
        host.start(lambda thread: SimpleNamespace(app=app, close=lambda: None))

    return start


@pytest.fixture
def body_info():
    """The response of a server that is asked which body it holds."""
    body = b'{"model": "toy", "identity": "toy 6", "head_blocks": 1, "tail_blocks": 1, "width": 6}'
    return Response(body, media_type="application/json")
