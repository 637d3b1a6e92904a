"""A run's model: the backend, the prompt and the readout."""

from dataclasses import dataclass, replace
from typing import TypeVar

from fedbbpt.backend import Backend, Provider, check_scores
from fedbbpt.config import Config
from fedbbpt.config.components import build, build_prompt, load_class
from fedbbpt.config.schema import ComponentConfig
from fedbbpt.data import Task
from fedbbpt.errors import ConfigError, DataError
from fedbbpt.objective import Objective, PromptedModel
from fedbbpt.prompts import Prompt
from fedbbpt.readouts import Readout
from fedbbpt.run.opening import check_payable, open_backend
from fedbbpt.services.ledger import Account


@dataclass(frozen=True)
class RunModel:
    """Everything in a run except the clients and their data."""

    config: Config  # with the defaults that depend on the backend or the task resolved
    task: Task
    backend: Backend
    prompt: Prompt
    readout: Readout

    @property
    def prompted(self) -> PromptedModel:
        """The part of the model that server and clients share."""
        return PromptedModel(self.backend.info, self.prompt, self.readout)

    @property
    def objective(self) -> Objective:
        """The objective, which queries the backend."""
        return self.prompted.on(self.backend)


M = TypeVar("M", bound=RunModel)


def open_model(config: Config, task: Task) -> RunModel:
    """Loads the backend and builds prompt and readout; makes no queries, and loads no data of the task."""
    return build_model(config, task, load_backend(config, task, task.provider))


def load_backend(config: Config, task: Task, provider: Provider) -> Backend:
    """Loads the config's backend with the data of the task's provider.

    Raises:
        ConfigError: the backend reads another modality than the task's, or has no scores and the algorithm needs them.
    """
    backend = open_backend(config, provider)
    if (read := "text" if backend.info.input_size is None else "image") != task.modality:
        raise ConfigError(
            f"the backend {config.backend.name} is set up to read {read}s, and the task {config.task.name} holds "
            f"{task.modality}s; what it reads is one of its options"
        )
    if load_class("algorithms", config.algorithm.name).access == "black-box":
        check_scores(backend.info)
    return backend


def prepared(model: M, payer: Account) -> M:
    """The model, ready for queries; a service is first asked for its capabilities, billed to the payer.

    Raises:
        ConfigError: the cost is limited and no price is known.
    """
    check_payable(model.backend, payer)
    if model.backend.service_client is None:
        return model
    model.backend.service_client.bill_to(payer)
    model.backend.set_up()
    return replace(model, config=_resolved(model.config, model.task, model.backend))


def build_model(config: Config, task: Task, backend: Backend) -> RunModel:
    """Builds prompt and readout for a backend.

    Raises:
        DataError: the task has one class only.
    """
    if len(task.classes) < 2:
        raise DataError(
            f"the task {config.task.name} has one class only, {task.classes[0]!r}; a run needs at least two"
        )
    prompt = build_prompt(config.prompt, backend.info.input_size, backend.info.embeddings)
    readout: Readout = build("readouts", config.readout, backend.info, task.classes)
    return RunModel(_resolved(config, task, backend), task, backend, prompt, readout)


def _resolved(config: Config, task: Task, backend: Backend) -> Config:
    name = config.task.name.partition(":")[0] + (f":{task.source}" if task.source else "")
    options = config.backend.options | {k: v for k, v in backend.info.resolved.items() if k in config.backend.options}
    changed = {
        "task": ComponentConfig(name=name, options=config.task.options),
        "backend": ComponentConfig(name=config.backend.name, options=options),
    }
    resolved = load_class("algorithms", config.algorithm.name).resolve_options(config.algorithm.options, backend)
    changed["algorithm"] = ComponentConfig(name=config.algorithm.name, options=resolved)
    return config.model_copy(update=changed)
