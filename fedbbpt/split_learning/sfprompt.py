"""SFPrompt (arXiv 2407.17533): soft tokens and the last blocks, trained through a body that stays at the server."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from fedbbpt.algorithms import Exchange, Keeps, Parts, Reply, State
from fedbbpt.algorithms.aggregate import weighted_mean
from fedbbpt.algorithms.calibration import finite_mean, mean_loss
from fedbbpt.algorithms.score import tally
from fedbbpt.algorithms.steps import rng_of, sampled, short, shuffled
from fedbbpt.errors import ConfigError
from fedbbpt.split_learning import passes
from fedbbpt.split_learning.http_transport import CutSpec, RemoteBody
from fedbbpt.split_learning.partition import TRAINABLE, Topology, check_options, partition
from fedbbpt.split_learning.protocol import UPSTREAM, Part, Precision, Role, Splittable
from fedbbpt.split_learning.pruning import num_kept, prune
from fedbbpt.split_learning.transport import (
    ActivationDtype,
    BodyRunner,
    BypassTransport,
    ClippedNoisyTransport,
    InProcessTransport,
    Transport,
)
from fedbbpt.types import Batch, Client, Dataset, Float32, Message, Parameters, Score, Update, Usage


class SFPrompt:
    """Clients hold head, prompt and tail; the server holds the body. A round has three phases.

    1. Self-update: `local_epochs` epochs of SGD at `self_update_lr` over all of the client's samples, from the head
       straight to the tail, without the server. Pruning by the same shortcut keeps the share `keep_fraction` of the
       samples with the largest EL2N score, ‖softmax − one-hot‖₂ (Paul et al. 2021, arXiv 2107.07075); ties are broken
       at random.
    2. Split training: `epochs` epochs of SGD at `lr` over the kept samples. Activations and gradients cross both cuts
       as `activation_dtype`; all parts step on the gradients of the same loss.
    3. FedAvg: the mean of the clients' changes, weighted by their numbers of training samples.

    The head is the embedding and the first `head_blocks` blocks; the tail is the last `tail_blocks` blocks and a new
    classifier. `num_prompt_tokens` soft tokens stand before the first block, or before each block of the head if
    `deep_prompt` (VPT-deep, Jia et al. 2022, arXiv 2203.12119). The learning rates are the paper's. Its batches of 128
    would be one step per round for a client with few samples, so `batch_size` is ours; so are `keep_fraction`,
    `local_epochs` and `num_prompt_tokens`, which it does not give, `activation_dtype`, and `dtype`, of the blocks.

    `trainable` chooses the parts that are trained: "prompt" is SFPrompt, with prompt, tail and classifier. The others
    are the paper's baselines, together with num_prompt_tokens=0, keep_fraction=1 and local_epochs=0. "linear" trains
    the classifier alone (SFL+Linear), for which no gradients cross. "full" trains everything (SFL+FF) as SplitFed v1
    does (Thapa et al. 2022, arXiv 2004.12088): the server keeps a copy of the body for each client of a round, steps it
    with that client, and takes the copies' weighted mean. Only what is trained travels. With topology=federated the
    clients hold the whole model (FL) and take the same steps.

    `body_url` is the address of `fedbbpt serve-body`, which then runs the body. `clip_norm` and
    `noise_multiplier` limit what it sees of a sample (`ClippedNoisyTransport`); no seed repeats the noise there.

    The share `fraction` of the clients (at least one) takes part in a round. A query is a sample that passes the body
    forward, wherever the body is, and a call is one batch of them; self-update and pruning take none.
    """

    federated = True
    portable = True  # what a client does depends on the message and its own data alone
    keeps: Keeps = "lowest"
    settled = 1
    white_box = True  # the model is cut, not queried
    addresses = ("body_url",)  # a resumed run may find the body elsewhere

    def __init__(
        self,
        parts: Parts,
        /,
        *,
        head_blocks: NonNegativeInt = 1,
        tail_blocks: NonNegativeInt = 1,
        num_prompt_tokens: NonNegativeInt = 4,
        deep_prompt: bool = False,
        keep_fraction: Annotated[float, Field(gt=0, le=1)] = 0.8,
        local_epochs: NonNegativeInt = 1,
        lr: PositiveFloat = 0.1,
        self_update_lr: PositiveFloat = 1e-4,
        batch_size: PositiveInt = 4,
        fraction: Annotated[float, Field(gt=0, le=1)] = 1.0,
        epochs: PositiveInt = 1,
        trainable: Literal["prompt", "linear", "full"] = "prompt",
        topology: Topology = "split",
        body_url: Annotated[str, Field(min_length=1)] | None = None,
        activation_dtype: ActivationDtype = "float32",
        clip_norm: PositiveFloat | None = None,
        noise_multiplier: NonNegativeFloat = 0.0,
        dtype: Precision = "float32",
    ) -> None:
        check_options(trainable, topology, body_url, clip_norm, noise_multiplier)
        role: Role = "client" if body_url else "all"
        self._split, self._classes = partition(
            parts,
            head_blocks=head_blocks,
            tail_blocks=tail_blocks,
            num_prompt_tokens=num_prompt_tokens,
            deep_prompt=deep_prompt,
            dtype=dtype,
            role=role,
        )
        self._seed, self._limit = parts.seed, parts.objective.backend.info.max_batch
        self._keep_fraction, self._local_epochs, self._epochs = keep_fraction, local_epochs, epochs
        self._lr, self._self_update_lr = lr, self_update_lr
        self._batch_size, self._fraction = batch_size, fraction
        self._clip_norm, self._noise_multiplier = clip_norm, noise_multiplier
        self._activation_dtype = activation_dtype if topology == "split" else None
        cut_spec = CutSpec(self._split.identity, head_blocks, tail_blocks)
        self._remote = RemoteBody(body_url, activation_dtype, cut_spec) if body_url else None
        trained = [part for part in TRAINABLE[trainable] if self._split.sizes[part]]
        self._trained: frozenset[Part] = frozenset(trained)
        self._told: list[Part] = [part for part in trained if part != "body" or topology == "federated"]
        self.portable = "body" not in self._trained or topology == "federated"
        # In the server's hands: the body that goes with its last message, and each client's copy where it is trained.
        self._body: tuple[int, Float32] | None = None
        self._copies: dict[str, BodyRunner] = {}

    @staticmethod
    def resolved(options: Mapping[str, Any], backend: Splittable) -> dict[str, Any]:
        """The options with the `dtype` that "auto" is here: a run keeps it wherever it goes on."""
        return {**options, "dtype": backend.computes_in(options["dtype"])}

    def init(self) -> State:
        """The pretrained tail, a new prompt and a new classifier; the others as well if they are trained."""
        parts = {*TRAINABLE["prompt"], *self._trained}
        return State(0, {part: self._start[part] for part in TRAINABLE["full"] if part in parts})

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
        before, transport = parameters, self._transport(message, client)
        data, losses = client.train, [np.zeros(0, np.float32)]
        step = partial(passes.train_step, self._split, self._trained)
        rng, everything = rng_of(message, client.id, "self-update"), np.arange(len(data))
        for batch in shuffled(data, everything, self._batch_size, self._local_epochs, rng):
            parameters, _ = step(parameters, batch, BypassTransport(), self._self_update_lr)
        rng = rng_of(message, client.id, "split")
        hard = prune(data, self._keep_fraction, self._limit, partial(passes.el2n_scores, self._split, parameters), rng)
        for batch in shuffled(data, hard, self._batch_size, self._epochs, rng):
            parameters, of_batch = step(parameters, batch, transport, self._lr)
            losses.append(of_batch)
        if "body" in self._told:
            parameters = {**parameters, "body": self._copies[client.id].body}
        changes: Parameters = {part: parameters[part] - before[part] for part in self._told}
        loss = short(finite_mean(np.concatenate(losses)))
        return Update(client.id, changes, len(data), loss, transport.usage, traffic=transport.traffic)

    @np.errstate(over="ignore", invalid="ignore")
    def merge(self, state: State, updates: Sequence[Update]) -> State:
        """Adds the mean change, weighted by samples; of the bodies' copies as well where they are trained."""
        parameters, changes = dict(state.parameters), [dict(update.payload) for update in updates]
        if "body" in self._trained and "body" not in self._told:
            for update, told in zip(updates, changes, strict=True):
                told["body"] = self._copies[update.client].body - parameters["body"]
        for part, change in weighted_mean(changes, [update.weight for update in updates]).items():
            parameters[part] = (parameters[part] + change).astype(np.float32)
        if not all(np.isfinite(values).all() for values in parameters.values()):
            raise ConfigError(
                "the parameters diverged beyond all numbers; start a new run with smaller steps (-o algorithm.lr, "
                "-o algorithm.self_update_lr)"
            )
        return State(state.round + 1, parameters, state.memory)

    def blank(self, work: Callable[..., Reply], message: Message) -> Reply:
        """See `Algorithm`."""
        if work == self.score:
            return Score("", np.zeros((self._classes, self._classes), np.int64), 0.0, 0, Usage())
        payload: dict[str, Float32] = {part: np.zeros(self._split.sizes[part], np.float32) for part in self._told}
        return Update("", payload, 0, math.nan, Usage())

    @np.errstate(over="ignore", invalid="ignore")
    def score(self, split: str, message: Message, client: Client) -> Score:
        """One pass over the client's split, from head to body to tail, `max_batch` samples at a time."""
        data: Dataset = getattr(client, split)
        parameters, transport = {**self._start, **message.parameters}, self._transport(message, client, split)

        def predict(batch: Batch) -> NDArray[np.float64]:
            return passes.predict(self._split, parameters, batch, transport).astype(np.float64)

        counts = tally(data, self._limit, self._classes, predict)
        return Score(client.id, *counts, transport.usage, transport.traffic)

    def plan(self, client: Client, round_: int) -> Usage:
        """See `Algorithm`."""
        kept = num_kept(self._keep_fraction, len(client.train))
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

    def _transport(self, message: Message, client: Client, scored: str | None = None) -> Transport:
        """To train over, or to score a split."""
        transport = self._direct_transport(message, client, self._trained if scored is None else frozenset())
        if self._clip_norm is None:
            return transport
        rng = np.random.default_rng() if self._remote else rng_of(message, client.id, f"noise {scored}")
        return ClippedNoisyTransport(transport, self._clip_norm, self._noise_multiplier, rng)

    def _direct_transport(self, message: Message, client: Client, trained: frozenset[Part]) -> Transport:
        """To the body that goes with the message; to a copy of it where it is trained."""
        if self._remote:
            return self._remote.transport(backward=bool(trained & UPSTREAM["tail"]))
        runner = BodyRunner(self._split, self._body_of(message), trained, self._lr)
        if "body" in trained:
            self._copies[client.id] = runner
        return InProcessTransport(runner, self._activation_dtype)

    def _body_of(self, message: Message) -> Float32:
        if "body" not in self._trained or "body" in self._told:
            return {**self._start, **message.parameters}["body"]
        if self._body is None or self._body[0] != message.round:
            raise RuntimeError("the server no longer has the body that goes with this message")
        return self._body[1]
