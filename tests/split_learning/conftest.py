"""A toy model in three parts, methods on it, and a server for its body."""

import threading
from contextlib import ExitStack
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

from fedbbpt.algorithms import AlgorithmContext
from fedbbpt.objective import Objective
from fedbbpt.optim.spsa import SpsaGC
from fedbbpt.prompts.none import NoPrompt
from fedbbpt.readouts.none import NoReadout
from fedbbpt.serve import RequestLimits
from fedbbpt.serve.batching import model_thread
from fedbbpt.serve.server import bind, make_server
from fedbbpt.split_learning.protocol import UPSTREAM, Backward, Forward, LossOutput, Splittable
from fedbbpt.split_learning.server import BodyService, ServedBody
from fedbbpt.split_learning.sfprompt import SFPrompt
from fedbbpt.testing.simulation import Simulation

SIZE, PLACES = (8, 8), 4  # the quarters of a picture
LIMITS = RequestLimits()


def through(values, weights):
    """tanh(values · weights), and the gradients of both from those of the result."""
    out = np.tanh(values @ weights)

    def back(gradients):
        inner = gradients * (1 - out**2)
        return inner @ weights.T, np.einsum("bni,bno->io", values, inner)

    return out, back


class Toy:
    """Three layers of D numbers a token: prompt and quarters · head; with their mean · body; · tail, mean, classifier.

    `asked` keeps (how many, of what) for every pass through the body.
    """

    def __init__(self, num_prompt_tokens, classes, width, asked):
        self.num_prompt_tokens, self._classes, self._d, self._asked = num_prompt_tokens, classes, width, asked
        self._shapes = {
            "prompt": (num_prompt_tokens, width),
            "head": (3, width),
            "body": (width, width),
            "tail": (width, width),
            "classifier": (width + 1, classes),
        }
        self.width, self.identity = width, f"toy {width}"
        self.sizes = {part: int(np.prod(shape)) for part, shape in self._shapes.items()}

    def init(self, seed):
        fixed, own = np.random.default_rng(0), np.random.default_rng(seed)
        scales = {"head": 4, "body": 1 / self._d, "tail": 1, "prompt": 1, "classifier": 0.1}
        drawn = {
            part: (own if part in ("prompt", "classifier") else fixed).normal(size=self.sizes[part]) for part in scales
        }
        return {part: (scales[part] * values).astype(np.float32) for part, values in drawn.items()}

    def _of(self, parameters, part):
        assert parameters[part].dtype == np.float32
        return parameters[part].reshape(self._shapes[part])

    def head(self, parameters, inputs, trained):
        quarters = inputs.reshape(-1, 3, 2, 4, 2, 4).mean((3, 5)).reshape(-1, 3, PLACES).swapaxes(1, 2) - np.float32(
            0.3
        )
        out, back = through(quarters, self._of(parameters, "head"))
        prompt = np.broadcast_to(self._of(parameters, "prompt"), (len(out), self.num_prompt_tokens, self._d))

        def vjp(gradients):
            at_prompt, at_patches = np.split(gradients, [self.num_prompt_tokens], axis=1)
            found = {"prompt": at_prompt.sum(0), "head": back(at_patches)[1]}
            return Backward(None, flat(found, trained))

        return Forward(np.concatenate([prompt, out], 1), vjp)

    def body(self, parameters, values, trained):
        assert set(parameters) == {"body"}  # the server has nothing else
        self._asked.append(len(values))
        out, back = through(values + values.mean(1, keepdims=True), self._of(parameters, "body"))

        def vjp(gradients):
            inner, weights = back(gradients)
            return Backward(inner + inner.mean(1, keepdims=True), flat({"body": weights}, trained))

        return Forward(out, vjp)

    def _logits(self, parameters, values):
        out, back = through(values, self._of(parameters, "tail"))
        pooled = np.concatenate([out.mean(1), np.ones((len(out), 1), np.float32)], 1)
        return pooled @ self._of(parameters, "classifier"), pooled, back

    def tail(self, parameters, values, labels, trained):
        logits, pooled, back = self._logits(parameters, values)
        log_p = log_softmax(logits)
        wrong = (np.exp(log_p) - np.eye(self._classes, dtype=np.float32)[labels]) / np.float32(len(labels))
        at_pooled = (wrong @ self._of(parameters, "classifier").T)[:, None, :-1] / np.float32(values.shape[1])
        at_input, weights = back(np.broadcast_to(at_pooled, values.shape))
        found = {"tail": weights, "classifier": pooled.T @ wrong}
        values = at_input if trained & UPSTREAM["tail"] else None
        return LossOutput(-log_p[np.arange(len(labels)), labels], np.exp(log_p), values, flat(found, trained))

    def predict(self, parameters, values):
        return log_softmax(self._logits(parameters, values)[0])


def flat(found, trained):
    return {part: gradient.astype(np.float32).ravel() for part, gradient in found.items() if part in trained}


def log_softmax(logits):
    shifted = logits - logits.max(1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(1, keepdims=True))


@pytest.fixture
def toy(make_backend):
    """`toy(width, max_batch)`: the fake backend, which can be cut."""

    class SplittableBackend(make_backend, Splittable):
        def __init__(self, width=6, **options):
            super().__init__(**options)
            self.asked, self._width = [], width

        def computes_in(self, dtype):
            return "float32"

        def partition_model(self, *, num_prompt_tokens, num_classes, **_):
            return Toy(num_prompt_tokens, num_classes, self._width, self.asked)

    return SplittableBackend


def _objective(backend, prompt=None, readout=NoReadout, classes=None):
    return Objective(
        backend.info, prompt or NoPrompt(SIZE), readout(backend.info, classes or backend.info.classes), backend
    )


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


@pytest.fixture(scope="session")
def make_split():
    """The class of the model in three parts."""
    return Toy


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
        split = split or Toy(0, 1, 6, [])
        return host.start(
            lambda thread: BodyService(thread, ServedBody(split, "toy", head, tail), limits, token), token
        )

    return start
