"""FedBPT (Sun et al. 2024, ICML, arXiv 2310.01467): the server's CMA-ES treats each client's final mean as a sample.

Clients and server run CMA evolution strategies (Hansen 2016, arXiv 1604.00772). A sample's loss is the one that its own
client measured there.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveFloat, PositiveInt

from fedbbpt.algorithms import AlgorithmContext, ClientContext, ClientSizes, MakeOptimizer, ServerState
from fedbbpt.algorithms.calibration import finite_mean
from fedbbpt.algorithms.fedavg import FedAvg
from fedbbpt.algorithms.local_steps import StepQueries
from fedbbpt.algorithms.loss_broadcast import TUNED
from fedbbpt.algorithms.sampling import rng_of, rounded
from fedbbpt.data.texts import as_texts
from fedbbpt.errors import ConfigError
from fedbbpt.optim import MOST_ASKED, Optimizer, OptimizerStart
from fedbbpt.optim.cma_base import CmaBase
from fedbbpt.optim.sep_cma import SepCma
from fedbbpt.optim.two_point import rms
from fedbbpt.types import Floats, Inputs, Message, Update, Usage


class FedBpt(FedAvg):
    """Clients run an evolution strategy from the server's distribution; the server's CMA-ES learns from their results.

    The distribution has a mean θ, a step size σ and a variance per coordinate. Each client runs some generations of
    sep-cma or cma, and sends its final mean, its loss there and the σ of each generation. The server's separable CMA-ES
    treats the means as samples drawn with σ', the step of that many generations, and learns from the ranks of their
    losses. σ grows or shrinks with σ'. As in the paper, losses of clients with different data are compared.

    The readout is fitted as in `fedavg`. Nothing is calibrated, since only ranks matter.

    Args:
        context: the model, the optimizer and the seed.
        participation: share of the clients that take part in a round; at least one does.
        clients_per_round: number of clients per round, in place of `participation`.
        local_steps: generations per client and round.
        batch_size: examples per minibatch, drawn without replacement; a client with fewer uses all of them.
        population_size: candidates per generation, in place of the optimizer's own number.
        step_size_rule: "paper" learns from the better half of the clients, and takes σ' from these (eq. 6); "code", as
            in the authors' code, from all clients, weighted by rank.
        word_swap_rate: share r_p of the words that are replaced in a copy of each text, by random words of the client.
            Clients then minimise their loss divided by that of the copies (eq. 7; mean losses, as in the authors'
            code), which makes it less rewarding to always predict the most frequent class. It doubles the queries;
            0.4 to 0.6 did best in the paper.
        max_norm: largest distance of θ from its start, root mean square over the coordinates. With few examples, ranks
            are mostly chance, and the mean drifts. On a toy task, ten clients and 60 rounds changed the test loss from
            0.77 nats to 1.78 without a bound, 0.82 with 1 and 0.72 with ½ for very different clients (Dirichlet,
            α = 0.1); to 0.65, 0.58 and 0.63 with α = 1; for similar clients, 1 and no bound did about the same.

    Raises:
        ConfigError: the optimizer is no evolution strategy, or words are to be swapped in images.
    """

    def __init__(
        self,
        context: AlgorithmContext,
        /,
        *,
        participation: Annotated[float, Field(gt=0, le=1)] = 1.0,
        clients_per_round: PositiveInt | None = None,
        local_steps: PositiveInt = 8,
        batch_size: PositiveInt = 128,
        population_size: Annotated[int, Field(ge=3, le=MOST_ASKED)] = 5,
        step_size_rule: Literal["paper", "code"] = "code",
        word_swap_rate: Annotated[float, Field(ge=0, le=1)] = 0.0,
        max_norm: PositiveFloat = 1.0,
    ) -> None:
        if word_swap_rate and "text" not in context.model.prompt.modalities:
            raise ConfigError(
                "algorithm.word_swap_rate replaces words, and the prompt is one for images; leave it at 0"
            )
        super().__init__(
            replace(context, optimizer=_with_population(context, population_size)),
            participation=participation,
            clients_per_round=clients_per_round,
            local_steps=local_steps,
            batch_size=batch_size,
        )
        self._population_size, self._step_size_rule = population_size, step_size_rule
        self._word_swap_rate, self._max_norm = word_swap_rate, max_norm

    def init(self) -> ServerState:
        """The prompt's start, the optimizer's distribution around it and the readout's initial weights."""
        state = super().init()
        return replace(state, parameters={part: state.parameters[part] for part in (*TUNED, "readout")})

    def aggregate(self, state: ServerState, updates: Sequence[Update]) -> ServerState:
        """Runs a generation of the server's CMA-ES; clients without a loss at their mean are left out."""
        samples = [update.payload for update in updates if np.isfinite(update.payload["loss"]).all()]
        mean, opt_state = (state.parameters[part].astype(np.float64) for part in TUNED)
        if samples:
            mean, opt_state = self._generation(mean, opt_state, samples)
        new = {"prompt": mean.astype(np.float32), "optimizer": opt_state.astype(np.float32)}
        return ServerState(state.round + 1, {**state.parameters, **new})

    def expected_usage(self, client: ClientSizes, round_: int) -> Usage:
        """See `Algorithm`."""
        examples = min(self._local.batch_size, client.train)
        generation, last = (self.model.usage(candidates, examples) for candidates in (self._population_size, 1))
        total = generation.times(self._local.local_steps) + last
        return total.times(2) if self._word_swap_rate else total

    @np.errstate(over="ignore", invalid="ignore", divide="ignore")  # values that are not finite rank last
    def _train(self, message: Message, ctx: ClientContext) -> Update:
        """Runs the generations from the server's distribution, and measures the loss at their final mean."""
        batches, noise = (rng_of(message, ctx.id, purpose) for purpose in ("batches", "words"))
        words = words_of(ctx.data.train.batch(slice(None)).inputs) if self._word_swap_rate else np.empty(0, object)
        optimizer, weights = self._optimizer(message, ctx.id), message.parameters["readout"]
        queries, losses = StepQueries(ctx, self.model), []

        def measured(candidates: Floats) -> NDArray[np.float64]:
            batch = self._local.batch(ctx.data.train, batches)
            scores = queries.answers(candidates, batch)  # (n, b, V, C)
            losses.append(self.model.losses(weights, scores, batch.labels))  # (n,)
            if not self._word_swap_rate:
                return losses[-1]
            inputs = replaced(batch.inputs, words, self._word_swap_rate, noise)
            copies = batch._replace(inputs=inputs, features=self.model.prompt.features(inputs))
            return losses[-1] / self.model.losses(weights, queries.objective.answers(candidates, copies), batch.labels)

        sigmas = np.empty(self._local.local_steps, np.float32)
        for step in range(self._local.local_steps):
            sigmas[step] = np.exp(optimizer.state[0])
            optimizer.tell(measured(optimizer.ask()))
        mean = optimizer.x.astype(np.float32)
        final = measured(mean[None])
        final[np.isinf(final)] = np.nan  # `aggregate` leaves it out
        payload: dict[str, NDArray[Any]] = {"prompt": mean, "loss": final, "sigmas": sigmas}
        queries.store()
        loss = rounded(finite_mean(np.concatenate(losses)))
        return Update(ctx.id, payload, len(ctx.data.train), loss, queries.usage)

    def _empty_update(self) -> Update:
        theta, sigmas = np.zeros(self.model.prompt.dim, np.float32), np.zeros(self._local.local_steps, np.float32)
        payload: dict[str, NDArray[Any]] = {"prompt": theta, "loss": np.full(1, np.nan), "sigmas": sigmas}
        return Update("", payload, 0, math.nan, Usage())

    def _optimizer(self, message: Message, client: str) -> Optimizer:
        """A client's optimizer at the server's distribution."""
        x, state = (message.parameters[part].astype(np.float64) for part in TUNED)
        return self._local.make_optimizer(OptimizerStart(x, rng_of(message, client, "directions"), 0, state))

    def _generation(
        self, mean: NDArray[np.float64], state: NDArray[np.float64], samples: Sequence[Mapping[str, NDArray[Any]]]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The server's new mean (d,) and optimizer state (1 + d,), from at least one client's payload."""
        samples = sorted(samples, key=lambda one: float(one["loss"][0]))
        parents = len(samples) if self._step_size_rule == "code" else max(1, len(samples) // 2)
        sigmas = np.array([one["sigmas"] for one in samples[:parents]], np.float64)
        step = np.log(
            step_of(sigmas, self._population_size // 2 if self._step_size_rule == "code" else self._population_size / 2)
        )
        points = np.array([one["prompt"] for one in samples])
        server = _ServerCmaEs(mean, np.array([step, *state[1:]]), points, parents)
        server.learn(np.array([one["loss"][0] for one in samples]))
        grown = server.state - np.array([step - state[0], *np.zeros(len(mean))])
        start = self.init().parameters["prompt"]
        change = server.x - start
        return start + change / max(1.0, rms(change) / self._max_norm), grown


class _ServerCmaEs(SepCma):
    """A separable CMA-ES that learns from the best `parents` of given samples."""

    def __init__(
        self, x: NDArray[np.float64], state: NDArray[np.float64], samples: NDArray[np.float64], parents: int
    ) -> None:
        # A CMA-ES learns from the better half of its population; placeholders that rank last fill up the other half.
        self._absent = max(0, 2 * parents - len(samples))
        start = OptimizerStart(x, np.random.default_rng(0), 0, state)
        super().__init__(start, population_size=len(samples) + self._absent)
        self._points = np.concatenate([samples, np.tile(x, (self._absent, 1))])

    def learn(self, losses: NDArray[np.float64]) -> None:
        """Runs a generation with the losses (m,) of the given samples."""
        self.ask()
        ranks = np.unique(losses, return_inverse=True)[1]  # equal losses share a rank
        self.tell(np.array([*ranks, *[len(losses)] * self._absent], np.float64))

    def _sample(self) -> NDArray[np.float64]:
        return (self._points - self._origin) / self._scale


def step_of(sigmas: NDArray[np.float64], parents: float) -> float:
    """The step σ' of all generations together, root mean square over the clients: √(mean_k Σ_j σ²_kj / μ).

    `sigmas` is (clients, generations). Each generation moves a client by the mean of μ samples, its parents. With
    μ = λ/2 and the better half of the clients this is eq. 6 of the paper, 2 √(Σ_k Σ_j σ²_kj / (|S| λ)), where S is all
    clients.
    """
    return float(np.sqrt((sigmas**2).sum(1).mean() / parents))


def words_of(texts: Inputs) -> Inputs:
    """The distinct words of texts (b,), sorted."""
    return as_texts(sorted({word for text in texts for word in text.split()}))


def replaced(texts: Inputs, words: Inputs, share: float, rng: np.random.Generator) -> Inputs:
    """Texts (b,), each word replaced by a random one of `words` with probability `share`."""

    def one(text: str) -> str:
        own = as_texts(text.split())
        chosen = rng.random(len(own)) < share
        own[chosen] = rng.choice(words, chosen.sum())
        return " ".join(own)

    return as_texts([one(text) for text in texts])


def _with_population(context: AlgorithmContext, population_size: int) -> MakeOptimizer:
    """The run's evolution strategy and its initial distribution, with another population size.

    Raises:
        ConfigError: the optimizer is no evolution strategy.
    """
    made = context.optimizer(OptimizerStart(np.zeros(context.model.prompt.dim), np.random.default_rng(0)))
    if not isinstance(made, CmaBase):
        raise ConfigError(
            "algorithm 'fedbpt' sends the distribution of an evolution strategy around: use --optimizer sep-cma, or "
            "cma for up to 300 numbers"
        )
    kind: Any = type(made)
    first = made.state

    def make(start: OptimizerStart) -> Optimizer:
        start = replace(start, state=first if start.state is None else start.state)
        optimizer: Optimizer = kind(start, population_size=population_size)
        return optimizer

    return make
