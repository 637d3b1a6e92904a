"""Builds everything that a run needs from its config: the clients' data, the model, the algorithm, the engine."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property, partial
from typing import Any, cast

import numpy as np

from fedbbpt.algorithms import Algorithm, AlgorithmContext, ClientSizes
from fedbbpt.config import Config
from fedbbpt.config.components import build, build_task, load_class
from fedbbpt.config.schema import ComponentConfig
from fedbbpt.engines import BASELINE, TUNED, ClientHost, Engine, HostFactory, Memories
from fedbbpt.errors import ConfigError
from fedbbpt.objective import PromptedModel
from fedbbpt.optim import Optimizer, OptimizerStart, Space
from fedbbpt.prompts import Prompt
from fedbbpt.prompts.none import NoPrompt
from fedbbpt.run.client_data import make_client_data
from fedbbpt.run.model import RunModel, build_model, load_backend
from fedbbpt.run.saved_task import RecordingProvider, recording
from fedbbpt.run.vocabulary import with_vocabulary
from fedbbpt.types import Client, Dataset, Subset, Usage


@dataclass(frozen=True)
class Experiment(RunModel):
    """A run that is ready to start: the model, the clients and both halves of the algorithm, in one process."""

    clients: list[Client]
    setup: Usage = Usage()  # noqa: RUF009 - of the backend's setup, when the run began
    data_description: Sequence[tuple[str, str]] = ()  # how the data are divided, as pairs (name, text)
    provider: RecordingProvider | None = None  # records what the backend takes from the task's provider

    @cached_property
    def algorithm(self) -> Algorithm:
        """The federated algorithm."""
        return self._made(self.config.algorithm, self.prompted)

    @cached_property
    def baseline(self) -> Algorithm:
        """The baseline: the readout alone, without a prompt, fitted by the same federation or by each client."""
        name = "fedavg" if self.algorithm.shares_parameters else "local"
        return self._made(ComponentConfig(name=name, options={}), self._unprompted)

    @property
    def _unprompted(self) -> PromptedModel:
        return replace(self.prompted, prompt=NoPrompt(self.backend.info.input_size))

    @cached_property
    def host(self) -> ClientHost:
        """The clients' half."""
        return ClientHost(
            {
                TUNED: (self.algorithm, self.objective),
                BASELINE: (self.baseline, self._unprompted.on(self.backend)),
            },
            {client.id: client for client in self.clients},
        )

    @property
    def client_sizes(self) -> list[ClientSizes]:
        """What the server knows about the clients."""
        return [ClientSizes(c.id, len(c.train), len(c.validation), len(c.test)) for c in self.clients]

    def open_engine(self, memories: Memories) -> Engine:
        """The engine that runs the clients' half."""
        engine: Engine = build("engines", self.config.engine, _Hosts(self), memories)
        return engine

    def _made(self, component: ComponentConfig, model: PromptedModel) -> Algorithm:
        chosen, options = load_class("optimizers", self.config.optimizer.name), self.config.optimizer.options
        choices = model.prompt.choices
        if chosen.categorical and model.prompt.dim and not choices:
            raise ConfigError(
                f"the optimizer {self.config.optimizer.name!r} draws from choices, and the prompt "
                f"{self.config.prompt.name!r} has none; use --prompt discrete or --prompt instruction"
            )

        def optimizer(start: OptimizerStart) -> Optimizer:
            made: Optimizer = chosen(replace(start, space=Space(choices or None)), **options)
            return made

        context = AlgorithmContext(model, optimizer, self.config.seed, self.backend)
        return cast(Algorithm, build("algorithms", component, context))

    @property
    def same_classes(self) -> bool:
        """Whether the model scores all of the task's classes by their names."""
        return set(self.task.classes) <= set(self.backend.info.classes)

    @property
    def remembers_all_answers(self) -> bool:
        """Whether there is no prompt, so that clients query each input once and remember the scores."""
        return self.algorithm.access == "black-box" and not self.prompt.dim

    @property
    def unprompted_subsets(self) -> tuple[Subset, ...]:
        """The subsets whose inputs are queried without a prompt, once each.

        All of them, if the run or its baseline trains a readout without a prompt. Otherwise the test data for
        zero-shot, and also the validation data if the run has no prompt.
        """
        if not self.algorithm.is_queryable:
            return ()
        if self.readout.trainable and (self.config.rounds or not self.remembers_all_answers):
            return ("train", "validation", "test")
        if self.remembers_all_answers:
            return ("validation", "test")
        return ("test",) if self.same_classes else ()

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


def open_experiment(config: Config, taken: bytes = b"") -> Experiment:
    """Loads the model and the data, and divides the data among the clients; makes no queries.

    `taken` is the provider's data that the backend took when the run began (`RecordingProvider.to_bytes`).

    Raises:
        ConfigError: settings that do not go together.
    """
    task = build_task(config.task)
    provider = recording(task.provider, taken)
    backend = load_backend(config, task, provider)
    if load_class("engines", config.engine.name).out_of_process and backend.service_client is not None:
        raise ConfigError(
            f"the engine {config.engine.name!r} runs clients in other processes, and what they ask of backend "
            f"{config.backend.name!r} is paid from one ledger in this one; use --engine serial"
        )
    clients, description = make_client_data(config, task, task.load(backend.info.input_size))
    config = config.model_copy(update={"data": config.data.model_copy(update={"clients": len(clients)})})
    model = build_model(with_vocabulary(config, clients), task, backend)
    clients = [_with_features(client, model.prompt) for client in clients]
    parts: dict[str, Any] = {field.name: getattr(model, field.name) for field in fields(model)}
    parts |= {"setup": backend.setup_usage, "data_description": description, "provider": provider}
    return Experiment(**parts, clients=clients)


class _Hosts(HostFactory):
    """The experiment's host in this process; other processes open the experiment from the same config."""

    def __init__(self, experiment: Experiment) -> None:
        self._experiment = experiment

    def here(self) -> ClientHost:
        return self._experiment.host

    @property
    def opener(self) -> Callable[[], ClientHost]:
        taken = self._experiment.provider.to_bytes() if self._experiment.provider else b""
        return partial(_opened, self._experiment.config, taken)


def _opened(config: Config, taken: bytes) -> ClientHost:
    return open_experiment(config, taken).host


def _with_features(client: Client, prompt: Prompt) -> Client:
    """The client with the features that the prompt uses, computed once."""

    def add(data: Dataset) -> Dataset:
        pieces = [prompt.features(data.batch(slice(i, i + 64)).inputs) for i in range(0, len(data), 64)]
        known = [piece for piece in pieces if piece is not None]
        return replace(data, features=np.concatenate(known)) if known else data

    return replace(client, train=add(client.train), validation=add(client.validation), test=add(client.test))
