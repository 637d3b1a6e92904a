"""SFPrompt (arXiv 2407.17533): soft tokens and the last blocks, trained with a body that stays with the server.

A white box: the model is cut in three (`fedbbpt.split`). Labels and images stay with the client, as the body does with
the server.
"""

import math
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from fedbbpt.algorithms import Exchange, Keeps, Parts, State
from fedbbpt.algorithms.aggregate import weighted_mean
from fedbbpt.algorithms.calibration import finite_mean, mean_loss
from fedbbpt.algorithms.line import InProcess, Line, Server, Shortcut, Wire, descend
from fedbbpt.algorithms.score import tally
from fedbbpt.algorithms.steps import rng_of, sampled, short
from fedbbpt.errors import ConfigError
from fedbbpt.readouts.identity import Identity
from fedbbpt.split import Gradients, Part, Split
from fedbbpt.types import Batch, Client, Dataset, Float32, Int64, Message, Parameters, Score, Update, Usage

TRAINED: dict[str, tuple[Part, ...]] = {
    "prompt": ("prompt", "tail", "classifier"),
    "linear": ("classifier",),
    "full": ("prompt", "head", "body", "tail", "classifier"),
}
BEHIND = frozenset[Part](("prompt", "head", "body"))  # whose gradients have to come back over the cuts


class SFPrompt:
    """Head, prompt and tail at the client, body at the server; three phases a round, then FedAvg.

    1. Self-update: `local_epochs` over all of the client's samples with SGD at `local_rate`, from head to tail past the
       body, without the server. Pruning: by the same shortcut, the share `keep` of the samples with the largest EL2N,
       ‖softmax − one-hot‖₂ (Paul et al. 2021), of equal ones the earlier.
    2. Split training: `epochs` over the kept samples with SGD at `rate`, where smashed data and gradients cross both
       cuts; all parts step on the gradients of the same loss. What crosses is written as `wire`.
    3. The mean of the clients' changes, weighted by their numbers of training samples.

    The head is the first `head` blocks, the tail the last `tail` ones and a classifier of its own; `tokens` soft tokens
    stand before the first block, or before each block of the head if `deep`. Rates and `batch_size` are the paper's;
    `keep`, `local_epochs` and `tokens` are not published, these defaults are ours, and so is any `wire` but float32.

    `train`: "prompt" is SFPrompt, with prompt, tail and classifier. The others are what the paper compares it with, if
    set to tokens=0, keep=1 and local_epochs=0: "linear", the classifier alone (SFL+Linear), for which no gradients
    cross; "full", everything (SFL+FF), as in SplitFed v1 (Thapa et al. 2022): for each client of a round the server has
    a copy of the body, which steps with it, and takes their weighted mean. Only what is trained travels.

    `fraction` of the clients (at least one) takes part in a round. A query is a sample that passes the body forward, a
    call the batch that it is in; self-update and pruning take none.
    """

    federated = True
    keeps: Keeps = "lowest"
    white_box = True  # the model is cut, not queried

    def __init__(
        self,
        parts: Parts,
        /,
        *,
        head: PositiveInt = 1,
        tail: NonNegativeInt = 1,
        tokens: NonNegativeInt = 8,
        deep: bool = False,
        keep: Annotated[float, Field(gt=0, le=1)] = 0.5,
        local_epochs: NonNegativeInt = 1,
        rate: PositiveFloat = 0.1,
        local_rate: PositiveFloat = 1e-4,
        batch_size: PositiveInt = 128,
        fraction: Annotated[float, Field(gt=0, le=1)] = 1.0,
        epochs: PositiveInt = 1,
        train: Literal["prompt", "linear", "full"] = "prompt",
        wire: Wire = "float32",
    ) -> None:
        self._split, self._classes = _cut(parts, head, tail, tokens, deep)
        self._seed, self._limit = parts.seed, parts.objective.backend.info.batch_limit
        self._keep, self._local_epochs, self._epochs, self._wire = keep, local_epochs, epochs, wire
        self._rate, self._local_rate, self._batch_size, self._fraction = rate, local_rate, batch_size, fraction
        trained = [part for part in TRAINED[train] if self._split.sizes[part]]
        self._trained: frozenset[Part] = frozenset(trained)
        self._told: list[str] = [part for part in trained if part != "body"]
        # In the server's hands: the body that goes with its last message, and each client's copy where it is trained.
        self._body: tuple[int, Float32] | None = None
        self._copies: dict[str, Server] = {}

    def init(self) -> State:
        """The pretrained tail, a new prompt and a new classifier; the others as well if they are trained."""
        parts = {*TRAINED["prompt"], *self._trained}
        return State(0, {part: self._start[part] for part in TRAINED["full"] if part in parts})

    def sample(self, state: State, clients: Sequence[Client]) -> list[Client]:
        """A uniform draw without replacement that depends on the seed and the round only."""
        return sampled(clients, self._fraction, self._seed, state.round + 1)

    def broadcast(self, state: State) -> Message:
        """The parts that are trained, but for the body, which the server itself goes on with."""
        if "body" in self._trained:
            self._body = state.round + 1, state.parameters["body"]
        return Message(state.round + 1, self._seed, {part: state.parameters[part] for part in self._told})

    def round(self, state: State, exchange: Exchange) -> tuple[State, float]:
        """See `Algorithm`.

        Raises:
            ConfigError: the parameters are no longer finite.
        """
        self._copies.clear()
        updates = exchange(self.local, self.broadcast(state))
        return self.merge(state, updates), mean_loss(updates)

    @np.errstate(over="ignore", invalid="ignore")  # `merge` sees what overflowed
    def local(self, message: Message, client: Client) -> Update:
        """Self-update, pruning and split training."""
        parameters: Parameters = {**self._start, **message.parameters}
        before, line = parameters, self._line(message, client.id)
        data, losses = client.train, [np.zeros(0, np.float32)]
        rng, everything = rng_of(message, client.id, "self-update"), np.arange(len(data))
        for batch in self._batches(data, everything, self._local_epochs, rng):
            parameters, _ = self._step(parameters, batch, Shortcut(), self._local_rate)
        rng, kept = rng_of(message, client.id, "split"), self._kept(parameters, data)
        for batch in self._batches(data, kept, self._epochs, rng):
            parameters, of_batch = self._step(parameters, batch, line, self._rate)
            losses.append(of_batch)
        changes: Parameters = {part: parameters[part] - before[part] for part in self._told}
        loss = short(finite_mean(np.concatenate(losses)))
        return Update(client.id, changes, len(data), loss, line.usage, crossed=line.crossed)

    @np.errstate(over="ignore", invalid="ignore")
    def merge(self, state: State, updates: Sequence[Update]) -> State:
        """Adds the mean change, weighted by samples; of the bodies' copies as well where they are trained."""
        parameters, changes = dict(state.parameters), [dict(update.payload) for update in updates]
        if "body" in self._trained:
            for update, told in zip(updates, changes, strict=True):
                told["body"] = self._copies[update.client].body - parameters["body"]
        for part, change in weighted_mean(changes, [update.weight for update in updates]).items():
            parameters[part] = (parameters[part] + change).astype(np.float32)
        if not all(np.isfinite(values).all() for values in parameters.values()):
            raise ConfigError(
                "the parameters diverged beyond all numbers; start a new run with smaller steps (-o algorithm.rate, "
                "-o algorithm.local_rate)"
            )
        return State(state.round + 1, parameters, state.memory)

    @np.errstate(over="ignore", invalid="ignore")
    def score(self, split: str, message: Message, client: Client) -> Score:
        """One pass over the client's split, from head to body to tail, `batch_limit` samples at a time."""
        data: Dataset = getattr(client, split)
        parameters, line = {**self._start, **message.parameters}, self._line(message, None)

        def predict(batch: Batch) -> NDArray[np.float64]:
            return self._predict(parameters, batch, line).astype(np.float64)

        counts = tally(data, self._limit, self._classes, predict)
        return Score(client.id, *counts, line.usage, line.crossed)

    def plan(self, client: Client, round_: int) -> Usage:
        """See `Algorithm`."""
        kept = self._count(len(client.train))
        return Usage(self._epochs * kept, self._epochs * -(-kept // self._batch_size))

    def views(self, round_: int) -> int:
        """One."""
        return 1

    @property
    def sizes(self) -> dict[str, int]:
        """How many numbers are trained: those of the prompt, and all others as those of the readout."""
        sizes = {part: self._split.sizes[part] for part in self._trained}
        return {"prompt": sizes.pop("prompt", 0), "readout": sum(sizes.values())}

    @cached_property
    def _start(self) -> Parameters:
        return self._split.init(self._seed)

    def _line(self, message: Message, trains: str | None) -> Line:
        """To the server, with the body that goes with the message; to a copy of it for the client that trains."""
        body, trained = self._start["body"], self._trained if trains else frozenset[Part]()
        if "body" in self._trained:
            if self._body is None or self._body[0] != message.round:
                raise RuntimeError("the server no longer has the body that goes with this message")
            body = self._body[1]
        server = Server(self._split, body, trained, self._rate)
        if trains and "body" in trained:
            self._copies[trains] = server
        return InProcess(server, self._wire)

    def _step(self, parameters: Parameters, batch: Batch, line: Line, rate: float) -> tuple[Parameters, Float32]:
        """A step of SGD, and the losses (b,) before it. Back over the cuts goes only what is needed behind them."""
        passed = self._split.head(parameters, batch.inputs, self._trained)
        judged = self._split.tail(parameters, line.forward(passed.values), batch.labels, self._trained)
        gradients: Gradients = judged.gradients
        if self._trained & BEHIND:
            gradients = {**gradients, **passed.pull(line.backward(judged.values)).gradients}
        return descend(parameters, gradients, rate), judged.losses

    def _predict(self, parameters: Parameters, batch: Batch, line: Line) -> Float32:
        smashed = self._split.head(parameters, batch.inputs, frozenset()).values
        return self._split.predict(parameters, line.forward(smashed))

    def _kept(self, parameters: Parameters, data: Dataset) -> Int64:
        """Rows of the samples that the client learns most from, in their order."""
        if (count := self._count(len(data))) == len(data):
            return np.arange(count)
        batches = (data.batch(slice(start, start + self._limit)) for start in range(0, len(data), self._limit))
        errors = [el2n(np.exp(self._predict(parameters, b, Shortcut())), b.labels) for b in batches]
        return np.sort(np.argsort(-np.concatenate(errors), kind="stable")[:count])

    def _count(self, samples: int) -> int:
        """How many are kept: ⌈keep · samples⌉, where 0.1 · 30 is 3."""
        return math.ceil(round(self._keep * samples, 6))

    def _batches(self, data: Dataset, rows: Int64, epochs: int, rng: np.random.Generator) -> Iterator[Batch]:
        """The rows in a new order every epoch, `batch_size` at a time."""
        for _ in range(epochs):
            order = rng.permutation(rows)
            for start in range(0, len(order), self._batch_size):
                yield data.batch(order[start : start + self._batch_size])


def el2n(probabilities: Float32, labels: Int64) -> NDArray[np.float64]:
    """‖p − one-hot‖₂ of probabilities (b, K): (b,), the EL2N score (Paul et al. 2021, definition 2.1)."""
    errors = probabilities.astype(np.float64)
    errors[np.arange(len(labels)), labels] -= 1
    norms: NDArray[np.float64] = np.sqrt((errors**2).sum(1))
    return norms


def _cut(parts: Parts, head: int, tail: int, tokens: int, deep: bool) -> tuple[Split, int]:
    """The model in parts, and the number of the task's classes."""
    backend, prompt, readout = parts.objective
    cut = getattr(backend, "split", None)
    if cut is None:
        raise ConfigError("algorithm 'sfprompt' needs a model that can be cut; use --backend local-vit")
    if prompt.dim or not isinstance(readout, Identity):
        raise ConfigError(
            "algorithm 'sfprompt' has soft tokens and a classifier of its own: use --prompt none and --readout identity"
        )
    scores = np.zeros((1, len(backend.info.classes)), np.float32)
    classes = readout.log_probabilities(np.zeros(0), scores).shape[-1]
    return cut(head=head, tail=tail, tokens=tokens, deep=deep, classes=classes), classes
