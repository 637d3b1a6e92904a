"""A round of each method with one client, measured: what is sent, and what client and server do for it."""

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple, cast

import numpy as np

from fedbbpt.algorithms import ClientMemory
from fedbbpt.config import Config, make_config
from fedbbpt.engines import Call
from fedbbpt.errors import ConfigError
from fedbbpt.run.simulation import open_simulation
from fedbbpt.split_learning.protocol import Part
from fedbbpt.types import Message, Update
from fedbbpt_backends.local_vit import LocalViT
from fedbbpt_benchmarks.bench import white_box
from fedbbpt_benchmarks.bench.plan import merge_settings
from fedbbpt_benchmarks.experiments.costs.cost import Cost
from fedbbpt_benchmarks.experiments.costs.formula import FLOAT32, Setting, cost
from fedbbpt_benchmarks.experiments.costs.instrumented import SIDES, Instrument, InstrumentedBackend, Meter, Side
from fedbbpt_benchmarks.experiments.costs.memory import Memory
from fedbbpt_benchmarks.experiments.costs.meters import Clock, Flops
from fedbbpt_benchmarks.experiments.costs.vit_sizes import Shape, shape_of

METHODS = ("fl-full", "fl-linear", "sfl-full", "sfl-linear", "sfprompt-unpruned", "sfprompt-no-update", "sfprompt")


def configs(task: str, settings: Mapping[str, Any]) -> dict[str, Config]:
    """These settings with each method's options over them, as a bench has them."""

    def config(method: str) -> Config:
        values: dict[str, Any] = {"task": {"name": task}, "algorithm": {"name": "sfprompt"}}
        for layer in (settings, {"algorithm": white_box.METHODS[method][1]}):
            merge_settings(values, layer)
        return make_config(values)

    return {method: config(method) for method in METHODS}


class Memories(NamedTuple):
    """Bytes of a side."""

    held: int  # parameters of its parts, once
    live: int  # the most that its tensors took, copies of parameters for a call included


class Times(NamedTuple):
    """Seconds in this process."""

    client: float  # in its parts of the model
    server: float
    rest: float  # steps of SGD, and what is sent written and read


class Measured(NamedTuple):
    """A method on a client."""

    cost: Cost
    formula: Cost
    memory: Mapping[Side, Memories]
    times: Times


class _Round(NamedTuple):
    message: bytes
    update: Update
    instrument: Instrument
    sizes: Mapping[Part, int]
    seconds: float


class Stand:
    """A model and a client with so many samples, on which methods are measured.

    Raises:
        ConfigError: the task holds fewer samples, or the model is no plain ViT.
    """

    def __init__(self, config: Config, samples: int) -> None:
        data = config.data.model_copy(update={"clients": 1, "shots_per_class": samples})
        self._experiment = open_simulation(config.model_copy(update={"data": data}))
        (client,) = self._experiment.clients
        if len(client.train) < samples:
            raise ConfigError(f"{config.task.name} holds {len(client.train)} samples to train on; use --samples less")
        self._client = replace(client, train=client.train.take(np.arange(samples)))
        self._backend = cast(LocalViT, self._experiment.backend)
        model = self._backend.network.model
        settings = getattr(model.net, "config", None)  # timm's models have none
        self.shape: Shape = shape_of(model.name, settings.to_dict() if settings else {})
        self._classes = len(self._experiment.task.classes)

    def setting(self, config: Config) -> Setting:
        """What the formulas want to know of a method on this client."""
        return Setting.of(config.algorithm.options, len(self._client.train), self._classes)

    def measured(self, config: Config) -> Measured:
        """All that there is to tell of a method, in three rounds: meters of one thing cost another."""
        formula = cost(self.shape, self.setting(config))
        return Measured(self.counted(config), formula, self.remembered(config), self.timed(config))

    def counted(self, config: Config) -> Cost:
        """Bytes, each message really written, and FLOPs."""
        flops = Flops()
        message, update, instrument, *_ = self._round(config, flops)
        traffic = update.traffic
        return Cost(len(message), len(update.to_bytes()), traffic.down, traffic.up, 2 + instrument.messages, **flops.of)

    def remembered(self, config: Config) -> dict[Side, Memories]:
        """Peaks of memory."""
        memory = Memory()
        sizes = self._round(config, memory).sizes
        whole = self._body(config) == "client"
        body = FLOAT32 * sizes["body"]
        client = FLOAT32 * sum(sizes.values()) - (0 if whole else body)
        held: dict[Side, int] = {"client": client, "server": 0 if whole else body}
        return {side: Memories(held[side], memory.peak[side]) for side in SIDES}

    def timed(self, config: Config) -> Times:
        """Seconds; to be asked after another measurement, which warms up."""
        clock = Clock()
        seconds = self._round(config, clock).seconds
        return Times(**clock.of, rest=seconds - sum(clock.of.values()))

    def _body(self, config: Config) -> Side:
        return "server" if config.algorithm.options["topology"] == "split" else "client"

    def _round(self, config: Config, meter: Meter) -> _Round:
        """What the method sends to the client, and what comes back."""
        instrument = Instrument(meter, self._body(config))
        backend = InstrumentedBackend(self._backend, instrument)
        experiment = replace(self._experiment, config=config, backend=backend, clients=[self._client])
        sent = experiment.algorithm.broadcast(experiment.algorithm.init())
        message = sent.to_bytes()
        call = Call("train", replace(Message.from_bytes(message), body=sent.body))
        start = time.perf_counter()
        update: Any = experiment.host.answer(call, self._client.id, ClientMemory())
        return _Round(message, update, instrument, backend.sizes, time.perf_counter() - start)
