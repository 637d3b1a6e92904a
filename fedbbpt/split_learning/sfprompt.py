"""SFPrompt (arXiv 2407.17533): soft tokens and the last blocks, trained through a body that stays at the server."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from fedbbpt.algorithms import (
    Algorithm,
    AlgorithmContext,
    ClientContext,
    ClientReply,
    ClientSizes,
    Handler,
    RoundReport,
    Send,
    ServerState,
)
from fedbbpt.algorithms.aggregation import weighted_mean
from fedbbpt.algorithms.calibration import finite_mean, mean_loss
from fedbbpt.algorithms.evaluation import score_of, subset_of, tally
from fedbbpt.algorithms.sampling import number_of_clients, rng_of, rounded, sample_clients, shuffled_batches
from fedbbpt.backend import Backend
from fedbbpt.split_learning import passes
from fedbbpt.split_learning.activations import ActivationDtype
from fedbbpt.split_learning.body_access import BodyAccess
from fedbbpt.split_learning.http_transport import CutSpec
from fedbbpt.split_learning.local_sgd import LocalSgd
from fedbbpt.split_learning.partition import TRAINABLE, Topology, check_options, partition
from fedbbpt.split_learning.protocol import UPSTREAM, Part, Precision, Role, Splittable
from fedbbpt.split_learning.pruning import num_kept, prune
from fedbbpt.split_learning.sgd import check_finite
from fedbbpt.split_learning.transport import BodyRunner, BypassTransport, Transport
from fedbbpt.types import Batch, Float32, Message, Parameters, Score, Update, Usage


class SFPrompt(Algorithm):
    """White-box split training of a soft prompt, the last blocks and a classifier; a server runs the other blocks.

    Clients hold head, prompt and tail; the server holds the body. A round has three phases.

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
    with that client, and takes the copies' weighted mean. Only what is trained travels. With `topology` "federated" the
    clients hold the whole model (FL) and take the same steps.

    `body_url` is the address of `fedbbpt serve-body`, which then runs the body; over a federation, its server does.
    `clip_norm` and `noise_multiplier` limit what it sees of a sample (`ClippedNoisyTransport`), with fresh noise there.

    The share `participation` of the clients takes part in a round (at least one), or just `clients_per_round` of them.
    A query is a sample that passes the body forward, and a request one batch of them; the first phase takes none.
    """

    access: Literal["black-box", "white-box"] = "white-box"
    addresses: tuple[str, ...] = ("body_url",)  # a resumed run may find the body elsewhere

    def __init__(
        self,
        context: AlgorithmContext,
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
        participation: Annotated[float, Field(gt=0, le=1)] = 1.0,
        clients_per_round: PositiveInt | None = None,
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
            context,
            head_blocks=head_blocks,
            tail_blocks=tail_blocks,
            num_prompt_tokens=num_prompt_tokens,
            deep_prompt=deep_prompt,
            dtype=dtype,
            role=role,
        )
        self._start, self._seed = self._split.init(context.seed), context.seed
        self._limit = context.model.info.max_batch
        self._keep_fraction, self._local_epochs, self._epochs = keep_fraction, local_epochs, epochs
        self._lr, self._self_update_lr, self._batch_size = lr, self_update_lr, batch_size
        self._participation, self._clients_per_round = participation, clients_per_round
        cut = CutSpec(self._split.identity, head_blocks, tail_blocks)
        crossing = activation_dtype if topology == "split" else None
        self._access = BodyAccess(body_url, cut, crossing, clip_norm, noise_multiplier)
        trained = [part for part in TRAINABLE[trainable] if self._split.sizes[part]]
        self._trained: frozenset[Part] = frozenset(trained)
        self._sent: list[Part] = [part for part in trained if part != "body" or topology == "federated"]

    @classmethod
    def resolve_options(cls, options: Mapping[str, Any], backend: Backend) -> dict[str, Any]:
        """The options with the `dtype` that "auto" is here: a run keeps it wherever it goes on."""
        dtype = backend.computes_in(options["dtype"]) if isinstance(backend, Splittable) else options["dtype"]
        return {**options, "dtype": dtype}

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """See `Algorithm`."""
        return {"train": self._train, "evaluate": self._evaluate}

    @property
    def is_queryable(self) -> bool:
        """See `Algorithm`."""
        return self._access.url is None

    def init(self) -> ServerState:
        """The pretrained tail, a new prompt and a new classifier; the others as well if they are trained."""
        parts = {*TRAINABLE["prompt"], *self._trained}
        return ServerState(0, {part: self._start[part] for part in TRAINABLE["full"] if part in parts})

    def sample(self, state: ServerState, clients: Sequence[ClientSizes]) -> list[ClientSizes]:
        """A uniform draw without replacement that depends on the seed and the round only."""
        count = number_of_clients(self._participation, self._clients_per_round, len(clients))
        return sample_clients(clients, count, self._seed, state.round + 1)

    def broadcast(self, state: ServerState) -> Message:
        """The trained parts; a trained body stays with the server that runs it."""
        body = state.parameters["body"] if self._trains_body_at_server else None
        return Message(state.round + 1, self._seed, {part: state.parameters[part] for part in self._sent}, body=body)

    def round(self, state: ServerState, send: Send) -> tuple[ServerState, RoundReport]:
        """One exchange; everything else crosses the cuts.

        Raises:
            ConfigError: the parameters are no longer finite.
        """
        updates = send("train", self.broadcast(state))
        return self.aggregate(state, updates), RoundReport(mean_loss(updates))

    @np.errstate(over="ignore", invalid="ignore")
    def aggregate(self, state: ServerState, updates: Sequence[Update]) -> ServerState:
        """Adds the mean change, weighted by samples; where the body is trained, of its copies as well."""
        parameters, changes = dict(state.parameters), [dict(update.payload) for update in updates]
        for update, change in zip(updates, changes, strict=True):
            if update.body is not None:
                change["body"] = update.body - parameters["body"]
        for part, mean in weighted_mean(changes, [update.weight for update in updates]).items():
            parameters[part] = (parameters[part] + mean).astype(np.float32)
        check_finite(parameters)
        return replace(state, round=state.round + 1, parameters=parameters)

    def template(self, handler: str, message: Message) -> ClientReply:
        """See `Algorithm`."""
        if handler == "evaluate":
            return Score("", np.zeros((self._classes, self._classes), np.int64), 0.0, 0, Usage())
        payload: dict[str, Float32] = {part: np.zeros(self._split.sizes[part], np.float32) for part in self._sent}
        return Update("", payload, 0, math.nan, Usage())

    def expected_usage(self, client: ClientSizes, round_: int) -> Usage:
        """See `Algorithm`."""
        samples = num_kept(self._keep_fraction, client.train)
        return Usage(self._epochs * samples, self._epochs * -(-samples // self._batch_size))

    def parameter_counts(self, rounds: int) -> dict[str, int]:
        """See `Algorithm`; all but the prompt's count as the readout's."""
        sizes = {part: self._split.sizes[part] for part in self._trained}
        return {"prompt": sizes.pop("prompt", 0), "readout": sum(sizes.values())}

    @np.errstate(over="ignore", invalid="ignore")  # `aggregate` sees what overflowed
    def _train(self, message: Message, ctx: ClientContext) -> Update:
        """Self-update, pruning and split training."""
        parameters: Parameters = {**self._start, **message.parameters}
        before, runner = parameters, self._runner(message, self._trained)
        transport = self._transport(message, ctx, runner, self._trained)
        data, losses = ctx.data.train, [np.zeros(0, np.float32)]
        step = self._local_sgd().step
        rng, everything = rng_of(message, ctx.id, "self-update"), np.arange(len(data))
        for batch in shuffled_batches(data, everything, self._batch_size, self._local_epochs, rng):
            parameters, _ = step(parameters, batch, BypassTransport(), self._self_update_lr)
        rng = rng_of(message, ctx.id, "split")
        scores = partial(passes.el2n_scores, self._split, parameters)
        hard = prune(data, self._keep_fraction, self._limit, scores, rng)
        for batch in shuffled_batches(data, hard, self._batch_size, self._epochs, rng):
            parameters, of_batch = step(parameters, batch, transport, self._lr)
            losses.append(of_batch)
        if runner is not None and "body" in self._sent:
            parameters = {**parameters, "body": runner.body}
        changes: Parameters = {part: parameters[part] - before[part] for part in self._sent}
        loss = rounded(finite_mean(np.concatenate(losses)))
        body = runner.body if runner is not None and self._trains_body_at_server else None
        return Update(ctx.id, changes, len(data), loss, transport.usage, traffic=transport.traffic, body=body)

    def _local_sgd(self) -> LocalSgd:
        """What takes the steps of a client in a round."""
        return LocalSgd(self._split, self._trained)

    @np.errstate(over="ignore", invalid="ignore")
    def _evaluate(self, message: Message, ctx: ClientContext) -> Score:
        """One pass over a subset, from head to body to tail, `max_batch` samples at a time."""
        parameters, untrained = {**self._start, **message.parameters}, frozenset[Part]()
        transport = self._transport(message, ctx, self._runner(message, untrained), untrained)

        def predict(batch: Batch, rows: slice) -> NDArray[np.float64]:
            return passes.predict(self._split, parameters, batch, transport).astype(np.float64)

        tallied = tally(ctx.data.subset(subset_of(message)), self._limit, self._classes, predict)
        return score_of(ctx, message, tallied, transport.usage, transport.traffic)

    @property
    def _trains_body_at_server(self) -> bool:
        return "body" in self._trained and "body" not in self._sent

    def _runner(self, message: Message, trained: frozenset[Part]) -> BodyRunner | None:
        """The body in this process; where it is trained, a copy for one client. None if a server runs it."""
        if self._access.url is not None:
            return None
        body = {**self._start, **message.parameters}["body"] if message.body is None else message.body
        return BodyRunner(self._split, body, trained, self._lr)

    def _transport(
        self, message: Message, ctx: ClientContext, runner: BodyRunner | None, trained: frozenset[Part]
    ) -> Transport:
        rng = rng_of(message, ctx.id, f"noise {message.subset}")
        return self._access.transport(runner, ctx.shared, rng, backward=bool(trained & UPSTREAM["tail"]))
