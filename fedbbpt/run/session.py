"""From a config to everything that runs: the task dealt out to clients, the model, the method, and the exact cost."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property, partial
from typing import Any, TypeVar, cast

import numpy as np

from fedbbpt.algorithms import Algorithm, Parts
from fedbbpt.backend import Backend, Provider, check_scores
from fedbbpt.config import Config
from fedbbpt.config.components import build, build_prompt, build_task, is_white_box, load_class
from fedbbpt.config.schema import ComponentConfig
from fedbbpt.data import Task
from fedbbpt.data.texts import as_texts
from fedbbpt.engines import Engine
from fedbbpt.errors import ConfigError
from fedbbpt.objective import Objective
from fedbbpt.optim import Optimizer, OptimizerStart, Space
from fedbbpt.prompts import Prompt
from fedbbpt.prompts.none import NoPrompt
from fedbbpt.readouts import Readout
from fedbbpt.run.client_data import make_client_data
from fedbbpt.run.opening import check_payable, open_backend
from fedbbpt.run.saved_task import RecordingProvider, recording
from fedbbpt.run.vocabulary import with_vocabulary
from fedbbpt.services.ledger import Account
from fedbbpt.types import Client, Dataset, Usage


@dataclass(frozen=True)
class Model:
    """What answers, and what is tuned: all of a run but the clients and their data."""

    config: Config  # with everything resolved that was left to the backend or the task
    task: Task
    backend: Backend
    prompt: Prompt
    readout: Readout

    @property
    def objective(self) -> Objective:
        """What asks the model."""
        return Objective(self.backend, self.prompt, self.readout)


M = TypeVar("M", bound=Model)


@dataclass(frozen=True)
class Session(Model):
    """A run that is ready to go."""

    clients: list[Client]
    engine: Engine
    setup: Usage = Usage()  # noqa: RUF009 - what the backend has to know first, or had to when the run began
    data_description: Sequence[tuple[str, str]] = ()  # how the data are dealt out, in words
    provider: RecordingProvider | None = None  # with all that the backend took from it

    def algorithm(self, backend: Backend | None = None) -> Algorithm:
        """The federated method; on another backend that knows the answers already."""
        algorithm = self._made(self.config.algorithm, self.objective._replace(backend=backend or self.backend))
        token_count = self.from_memory or self.backend.service_client  # what was asked is known in this process
        if self.engine.elsewhere and (token_count or not getattr(algorithm, "portable", False)):
            raise ConfigError(
                f"the engine {self.config.engine.name!r} runs clients in other processes, and with these settings they "
                f"need what algorithm {self.config.algorithm.name!r} keeps in this one; use --engine serial"
            )
        return algorithm

    def unprompted(self, backend: Backend) -> Algorithm:
        """What the method is compared with: only the readout, fitted by the same federation, or by each client."""
        name = "fedavg" if self.federated else "local"
        prompt = NoPrompt(self.backend.info.input_size)
        return self._made(ComponentConfig(name=name, options={}), Objective(backend, prompt, self.readout))

    def _made(self, choice: ComponentConfig, objective: Objective) -> Algorithm:
        chosen, options = load_class("optimizers", self.config.optimizer.name), self.config.optimizer.options
        choices = objective.prompt.choices
        if chosen.categorical and objective.prompt.dim and not choices:
            raise ConfigError(
                f"the optimizer {self.config.optimizer.name!r} draws from choices, and the prompt "
                f"{self.config.prompt.name!r} has none; use --prompt discrete or --prompt instruction"
            )

        def optimizer(start: OptimizerStart) -> Optimizer:
            made: Optimizer = chosen(replace(start, space=Space(choices)), **options)
            return made

        parts = Parts(objective, optimizer, self.config.seed)
        return cast(Algorithm, build("algorithms", choice, parts))

    @property
    def federated(self) -> bool:
        """Whether messages travel and the clients share parameters."""
        return bool(load_class("algorithms", self.config.algorithm.name).federated)

    @property
    def white_box(self) -> bool:
        """Whether the method cuts the model instead of querying it."""
        return is_white_box(self.config.algorithm.name)

    @property
    def whole(self) -> bool:
        """Whether the whole model is here; of one that is cut, a server may hold the body."""
        return not (self.white_box and self.config.algorithm.options.get("body_url"))

    @property
    def same_classes(self) -> bool:
        """Whether the model scores all of the task's classes by their names."""
        return set(self.task.classes) <= set(self.backend.info.classes)

    @property
    def from_memory(self) -> bool:
        """Whether the run needs no more than one answer to each input as it is."""
        return not (self.prompt.dim or self.white_box)

    @property
    def sizes(self) -> dict[str, int]:
        """How many numbers are trained: those of all prompts, and those of the readout."""
        algorithm = self.algorithm()
        if self.white_box:
            return dict(cast(Any, algorithm).sizes)
        views = algorithm.views(self.config.rounds)
        return {"prompt": views * self.prompt.dim, "readout": len(self.readout.init(views))}

    @property
    def unprompted_data(self) -> list[Dataset]:
        """The data whose inputs the model is asked about as they are, once each.

        All, where a readout is trained without the prompt, as the run itself or as what it is compared with; else the
        test data for zero-shot, and the validation data too where there is no prompt at all. Also the readout's probes.
        Nothing where there is only a part of the model, or one that is cut and scores other classes.
        """
        if not self.whole or (self.white_box and not self.same_classes):
            return []
        if self.readout.trainable:
            splits: tuple[str, ...] = ("train", "validation", "test")
        else:
            splits = ("validation", "test") if self.from_memory else ("test",)
        data = [getattr(client, split) for client in self.clients for split in splits]
        if probes := self.objective.probes:
            data.append(Dataset(as_texts(probes), np.zeros(len(probes), np.int64)))
        return data

    @cached_property
    def data_sha256(self) -> str:
        """A fingerprint of all that the clients hold."""
        digest = hashlib.sha256()
        for client in self.clients:
            for split in (client.train, client.validation, client.test):
                digest.update(str(split.inputs.shape).encode())
                for content in split.contents():
                    digest.update(content)
                digest.update(split.labels.tobytes())
        return digest.hexdigest()


def open_model(config: Config, task: Task) -> Model:
    """Loads the model and builds prompt and readout for it. Nothing is queried, and no data of the task are wanted."""
    return _model(config, task, _loaded(config, task, task.provider))


def _loaded(config: Config, task: Task, provider: Provider) -> Backend:
    backend = open_backend(config, provider)
    if (read := "text" if backend.info.input_size is None else "image") != task.modality:
        raise ConfigError(
            f"the backend {config.backend.name} is set up to read {read}s, and the task {config.task.name} holds "
            f"{task.modality}s; what it reads is one of its options"
        )
    if not is_white_box(config.algorithm.name):
        check_scores(backend.info)
    return backend


def prepared(model: M, payer: Account) -> M:
    """The same, ready to be asked: a service is asked what it can do, at the payer's expense.

    Raises:
        ConfigError: what may be spent is limited, and no price is known.
    """
    check_payable(model.backend, payer)
    if model.backend.service_client is None:
        return model
    model.backend.service_client.bill_to(payer)
    model.backend.set_up()
    return replace(model, config=_resolved(model.config, model.task, model.backend))


def _model(config: Config, task: Task, backend: Backend) -> Model:
    prompt = build_prompt(config.prompt, backend.info.input_size, backend.info.embeddings)
    readout: Readout = build("readouts", config.readout, backend.info, task.classes)
    return Model(_resolved(config, task, backend), task, backend, prompt, readout)


def open_session(config: Config, taken: bytes = b"") -> Session:
    """Loads model and data and deals them out. Nothing is queried.

    Of the task's provider, the model has what it had `taken` when the run began (`RecordingProvider.to_bytes`).
    """
    task = build_task(config.task)
    provider = recording(task.provider, taken)
    backend = _loaded(config, task, provider)
    clients, description = make_client_data(config, task, task.load(backend.info.input_size))
    config = config.model_copy(update={"data": config.data.model_copy(update={"clients": len(clients)})})
    model = _model(with_vocabulary(config, clients), task, backend)
    clients = [_with_features(client, model.prompt) for client in clients]
    engine: Engine = build("engines", config.engine, partial(_reopened, model.config))
    parts: dict[str, Any] = {field.name: getattr(model, field.name) for field in fields(model)}
    parts |= {"setup": backend.setup_usage, "data_description": description}
    return Session(**parts, clients=clients, engine=engine, provider=provider)


def _reopened(config: Config) -> tuple[Algorithm, Sequence[Client]]:
    """What another process needs to do the clients' work: the same session, which sends it no further."""
    session = open_session(config.model_copy(update={"engine": ComponentConfig(name="serial", options={})}))
    return session.algorithm(), session.clients


def _resolved(config: Config, task: Task, backend: Backend) -> Config:
    name = config.task.name.partition(":")[0] + (f":{task.source}" if task.source else "")
    options = config.backend.options | {k: v for k, v in backend.info.resolved.items() if k in config.backend.options}
    changed = {
        "task": ComponentConfig(name=name, options=config.task.options),
        "backend": ComponentConfig(name=config.backend.name, options=options),
    }
    if resolve := getattr(load_class("algorithms", config.algorithm.name), "resolved", None):
        changed["algorithm"] = ComponentConfig(
            name=config.algorithm.name, options=resolve(config.algorithm.options, backend)
        )
    return config.model_copy(update=changed)


def _with_features(client: Client, prompt: Prompt) -> Client:
    """The client with what the prompt wants to know of its examples, computed once."""

    def add(data: Dataset) -> Dataset:
        pieces = [prompt.features(data.batch(slice(i, i + 64)).inputs) for i in range(0, len(data), 64)]
        known = [piece for piece in pieces if piece is not None]
        return replace(data, features=np.concatenate(known)) if known else data

    return replace(client, train=add(client.train), validation=add(client.validation), test=add(client.test))
