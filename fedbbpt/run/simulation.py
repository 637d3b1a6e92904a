"""A federation in one process: the server's half of a run together with all clients and their data."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from fedbbpt.algorithms import ClientMemory
from fedbbpt.config import Config
from fedbbpt.config.components import build, build_task, load_class
from fedbbpt.data.partition import label_counts
from fedbbpt.engines import BASELINE, TUNED, ClientHost, Engine, HostFactory, Memories
from fedbbpt.errors import ConfigError
from fedbbpt.prompts import Prompt
from fedbbpt.run.client_data import make_client_data
from fedbbpt.run.client_states import ClientFiles, ClientStates
from fedbbpt.run.experiment import ClientRecord, Experiment
from fedbbpt.run.model import build_model, load_backend
from fedbbpt.run.saved_task import RecordingProvider, recording
from fedbbpt.run.tested import tested_bytes
from fedbbpt.run.vocabulary import vocabulary_traffic, with_vocabulary
from fedbbpt.types import Client, Dataset, Traffic, Usage


@dataclass(frozen=True)
class Simulation(Experiment):
    """Both halves of a run in one process: the model, the clients' data and the algorithm."""

    clients: list[Client]
    setup: Usage = Usage()  # noqa: RUF009 - frozen, too
    data_description: Sequence[tuple[str, str]] = ()
    provider: RecordingProvider | None = None

    @cached_property
    def host(self) -> ClientHost:
        """The clients' half."""
        return ClientHost(
            {
                TUNED: (self.algorithm, self.objective),
                BASELINE: (self.baseline, self.unprompted.on(self.backend)),
            },
            {client.id: client for client in self.clients},
        )

    @cached_property
    def client_records(self) -> Sequence[ClientRecord]:
        """See `Experiment`."""
        classes = len(self.task.classes)
        return [
            ClientRecord(c.id, *(label_counts(data, classes) for data in (c.train, c.validation, c.test)))
            for c in self.clients
        ]

    @cached_property
    def data_sha256(self) -> str:
        """The SHA-256 of all clients' data."""
        digest = hashlib.sha256()
        for client in self.clients:
            for data in (client.train, client.validation, client.test):
                digest.update(str(data.inputs.shape).encode())
                for content in data.contents():
                    digest.update(content)
                digest.update(data.labels.tobytes())
        return digest.hexdigest()

    @property
    def vocabulary_traffic(self) -> Traffic:
        """See `Experiment`."""
        return vocabulary_traffic(self.config, self.clients)

    def open_clients(self, folder: Path) -> "SimulatedClients":
        """See `Experiment`."""
        memories = {client.id: ClientMemory() for client in self.clients}
        return SimulatedClients(self.open_engine(memories), ClientStates(folder, memories), self.clients)

    def open_engine(self, memories: Memories) -> Engine:
        """The engine that runs the clients' half."""
        engine: Engine = build("engines", self.config.engine, _Hosts(self), memories)
        return engine


@dataclass(frozen=True)
class SimulatedClients:
    """Clients of this machine: their memories are saved in the run's folder. See `Clients`."""

    engine: Engine
    states: ClientStates
    clients: Sequence[Client]

    def save(self, round_: int) -> ClientFiles:
        """See `Clients`."""
        return self.states.save(round_)

    def restore(self, round_: int, files: ClientFiles) -> None:
        """See `Clients`."""
        self.states.load(files)

    def tested(self, score: str) -> bytes:
        """See `Clients`."""
        return tested_bytes(self.clients, self.states.memories, score)


def open_simulation(config: Config, taken: bytes = b"") -> Simulation:
    """Loads the model and the data, and divides the data among the clients; makes no queries.

    `taken` is the provider's data that the backend took when the run began (`RecordingProvider.to_bytes`).

    Raises:
        ConfigError: settings that do not go together.
    """
    engine: type[Engine] = load_class("engines", config.engine.name)
    if not engine.simulates:
        raise ConfigError(
            f"with the engine {config.engine.name!r}, the data stay at the sites of a federation: train with fedbbpt "
            "train --federation NAME, and without --task and --backend, which each site chooses"
        )
    task = build_task(config.task)
    provider = recording(task.provider, taken)
    backend = load_backend(config, task, provider)
    if engine.out_of_process and backend.service_client is not None:
        raise ConfigError(
            f"the engine {config.engine.name!r} runs clients in other processes, and what they ask of backend "
            f"{config.backend.name!r} is paid from one ledger in this one; use --engine serial"
        )
    clients, description = make_client_data(config, task, task.load(backend.info.input_size))
    config = config.model_copy(update={"data": config.data.model_copy(update={"clients": len(clients)})})
    model = build_model(with_vocabulary(config, clients), task, backend)
    clients = [with_features(client, model.prompt) for client in clients]
    parts: dict[str, Any] = {field.name: getattr(model, field.name) for field in fields(model)}
    parts |= {"setup": backend.setup_usage, "data_description": description, "provider": provider}
    return Simulation(**parts, clients=clients)


class _Hosts(HostFactory):
    """The simulation's host in this process; other processes open the simulation from the same config."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation

    def here(self) -> ClientHost:
        return self._simulation.host

    @property
    def opener(self) -> Callable[[], ClientHost]:
        taken = self._simulation.provider.to_bytes() if self._simulation.provider else b""
        return partial(_opened, self._simulation.config, taken)


def _opened(config: Config, taken: bytes) -> ClientHost:
    return open_simulation(config, taken).host


def with_features(client: Client, prompt: Prompt) -> Client:
    """The client with the features that the prompt uses, computed once."""

    def add(data: Dataset) -> Dataset:
        pieces = [prompt.features(data.batch(slice(i, i + 64)).inputs) for i in range(0, len(data), 64)]
        known = [piece for piece in pieces if piece is not None]
        return replace(data, features=np.concatenate(known)) if known else data

    return replace(client, train=add(client.train), validation=add(client.validation), test=add(client.test))
