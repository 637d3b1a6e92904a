"""What the server knows of a run that is ready to start: the model's properties, the clients' sizes, the algorithm."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, Protocol, cast

from fedbbpt.algorithms import Algorithm, AlgorithmContext, ClientSizes
from fedbbpt.config.components import build, load_class
from fedbbpt.config.schema import ComponentConfig
from fedbbpt.engines import Engine
from fedbbpt.errors import ConfigError
from fedbbpt.objective import PromptedModel
from fedbbpt.optim import Optimizer, OptimizerStart, Space
from fedbbpt.prompts.none import NoPrompt
from fedbbpt.run.client_states import ClientFile, ClientFiles
from fedbbpt.run.model import RunModel
from fedbbpt.run.saved_task import RecordingProvider
from fedbbpt.types import Subset, Traffic, Usage


class ClientRecord(NamedTuple):
    """A client's name, and its numbers of examples of each class."""

    id: str
    train: list[int]
    validation: list[int]
    test: list[int]

    @property
    def sizes(self) -> ClientSizes:
        """The numbers of examples of all classes together."""
        return ClientSizes(self.id, sum(self.train), sum(self.validation), sum(self.test))


class Clients(Protocol):
    """The clients of a run that has started: how they are reached, and what they remember between rounds."""

    @property
    def engine(self) -> Engine:
        """Sends messages to the clients."""

    def save(self, round_: int) -> Mapping[str, ClientFile]:
        """Makes what all clients remember after this round durable; returns the files that lie in the run's folder."""

    def restore(self, round_: int, files: ClientFiles) -> None:
        """Brings back what the clients remembered after this round."""

    def tested(self, score: str) -> bytes:
        """What is kept of a score on the test data, example by example (`run.tested`); empty where sites keep it."""


class Experiment(RunModel):
    """The server's half of a run that is ready to start. It holds no client's data."""

    setup: Usage  # of the backend's setup, when the run began
    data_description: Sequence[tuple[str, str]]  # how the data are divided, as pairs (name, text)
    provider: RecordingProvider | None  # records what the backend takes from the task's provider

    @property
    @abstractmethod
    def client_records(self) -> Sequence[ClientRecord]:
        """The clients, in the order in which their replies are added up."""

    @property
    @abstractmethod
    def data_sha256(self) -> str:
        """A fingerprint of all clients' data, by which a resumed run recognises them."""

    @property
    @abstractmethod
    def vocabulary_traffic(self) -> Traffic:
        """Bytes that were sent to learn the prompt's vocabulary from the clients; zero for one that was given."""

    @abstractmethod
    def open_clients(self, folder: Path) -> Clients:
        """Starts the clients. `folder` is the run's; a simulation keeps there what its clients remember."""

    @cached_property
    def algorithm(self) -> Algorithm:
        """The federated algorithm."""
        return self._made(self.config.algorithm, self.prompted)

    @cached_property
    def baseline(self) -> Algorithm:
        """The baseline: the readout alone, without a prompt, fitted by the same federation or by each client.

        Without a server it is flooded over the same links, if these stay the same, so that no coordinator has sums.
        """
        if self.algorithm.has_server:
            name = "fedavg" if self.algorithm.shares_parameters else "local"
            return self._made(ComponentConfig(name=name, options={}), self.unprompted)
        from fedbbpt.topology.graphs import CHANGING  # which brings networkx: memory that other runs do without

        topology = self.config.algorithm.options["topology"]
        options = {} if topology in CHANGING else {"topology": topology}
        return self._made(ComponentConfig(name="flood", options=options), self.unprompted)

    @property
    def unprompted(self) -> PromptedModel:
        """The model without a prompt."""
        return PromptedModel(self.backend.info, NoPrompt(self.backend.info.input_size), self.readout)

    @property
    def client_sizes(self) -> list[ClientSizes]:
        """What algorithms know about the clients."""
        return [record.sizes for record in self.client_records]

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

        clients = self.config.data.clients or len(self.client_records)
        known = self.config.seed, self.backend, clients, self.config.is_evaluated
        context = AlgorithmContext(model, optimizer, *known)
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
