"""FedBPT (Sun et al. 2024, ICML, arXiv 2310.01467): where the clients' searches arrive are the samples of the server's.

Clients and server run CMA evolution strategies (Hansen 2016, arXiv 1604.00772); the server's samples are the clients'
means, and the loss of each is what its own client measured there.
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
from fedbbpt.algorithms.local_steps import Asked
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
    """Clients search from the server's distribution, and the server's CMA-ES learns from where they arrive.

    The distribution is a mean θ, a step size σ and a variance for each coordinate. Each client runs `local_steps`
    generations of `population_size` candidates (in place of the optimizer's own) of an evolution strategy, sep-cma or
    cma, and tells its mean, its loss there and the σ of each generation. The server's separable CMA-ES takes the means
    for samples drawn with the step σ' that so many generations make, and learns from the ranks of their losses; σ grows
    or shrinks as σ' does. Losses of different clients are compared although their data differ: that is the method.

    `step_size_rule`: "paper" learns from the better half of the clients, σ' from these (eq. 6); "code", what the
    authors published, from all clients, weighted by rank.

    `word_swap_rate` is the share r_p of words that are replaced in a copy of each text, by any of the client's own
    words. Clients then minimise loss / loss of the copies (eq. 7; of mean losses, as the authors' code), so that saying
    the commonest class whatever the text pays less. It takes twice the queries; 0.4 to 0.6 did best in the paper.

    `max_norm` is how far θ may be from its start, root mean square over the coordinates: with few examples, ranks are
    mostly chance, and the mean walks off. On a toy, ten clients and 60 rounds took the test loss from 0.77 nats to 1.78
    without a bound, 0.82 with 1 and 0.72 with ½ where clients were very unlike (Dirichlet, α = 0.1); with α = 1 to
    0.65, 0.58 and 0.63; with clients alike, 1 and no bound did about the same.

    `participation`, `clients_per_round`, `batch_size` and the readout's fit are as in `fedavg`; nothing is calibrated,
    since only ranks count.
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
        """The prompt's start, the optimizer's distribution around it, and the readout's initial weights."""
        state = super().init()
        return replace(state, parameters={part: state.parameters[part] for part in (*TUNED, "readout")})

    def aggregate(self, state: ServerState, updates: Sequence[Update]) -> ServerState:
        """A generation of the server's CMA-ES; who could not measure a loss at its mean is no sample."""
        told = [update.payload for update in updates if np.isfinite(update.payload["loss"]).all()]
        mean, opt_state = (state.parameters[part].astype(np.float64) for part in TUNED)
        if told:
            mean, opt_state = self._learned(mean, opt_state, told)
        new = {"prompt": mean.astype(np.float32), "optimizer": opt_state.astype(np.float32)}
        return ServerState(state.round + 1, {**state.parameters, **new})

    def expected_usage(self, client: ClientSizes, round_: int) -> Usage:
        """See `Algorithm`."""
        examples = min(self._local.batch_size, client.train)
        generation, last = (self.model.usage(candidates, examples) for candidates in (self._population_size, 1))
        once = generation.times(self._local.local_steps) + last
        return once + once if self._word_swap_rate else once

    @np.errstate(over="ignore", invalid="ignore", divide="ignore")  # what is not finite ranks last
    def _train(self, message: Message, ctx: ClientContext) -> Update:
        """A few generations from the server's distribution, and the loss at the mean where they end."""
        batches, noise = (rng_of(message, ctx.id, purpose) for purpose in ("batches", "words"))
        words = words_of(ctx.data.train.batch(slice(None)).inputs) if self._word_swap_rate else np.empty(0, object)
        optimizer, weights = self._optimizer(message, ctx.id), message.parameters["readout"]
        asked, losses = Asked(ctx, self.model), []

        def measured(candidates: Floats) -> NDArray[np.float64]:
            batch = self._local.batch(ctx.data.train, batches)
            scores = asked.answers(candidates, batch)  # (n, b, V, C)
            losses.append(self.model.losses(weights, scores, batch.labels))  # (n,)
            if not self._word_swap_rate:
                return losses[-1]
            inputs = replaced(batch.inputs, words, self._word_swap_rate, noise)
            copies = batch._replace(inputs=inputs, features=self.model.prompt.features(inputs))
            return losses[-1] / self.model.losses(weights, asked.objective.answers(candidates, copies), batch.labels)

        sigmas = np.empty(self._local.local_steps, np.float32)
        for step in range(self._local.local_steps):
            sigmas[step] = np.exp(optimizer.state[0])
            optimizer.tell(measured(optimizer.ask()))
        mean = optimizer.x.astype(np.float32)
        there = measured(mean[None])
        there[np.isinf(there)] = np.nan  # as good as not measured
        payload: dict[str, NDArray[Any]] = {"prompt": mean, "loss": there, "sigmas": sigmas}
        asked.keep()
        loss = rounded(finite_mean(np.concatenate(losses)))
        return Update(ctx.id, payload, len(ctx.data.train), loss, asked.usage)

    def _empty_update(self) -> Update:
        theta, sigmas = np.zeros(self.model.prompt.dim, np.float32), np.zeros(self._local.local_steps, np.float32)
        payload: dict[str, NDArray[Any]] = {"prompt": theta, "loss": np.full(1, np.nan), "sigmas": sigmas}
        return Update("", payload, 0, math.nan, Usage())

    def _optimizer(self, message: Message, client: str) -> Optimizer:
        """A client's search, from the server's distribution."""
        x, state = (message.parameters[part].astype(np.float64) for part in TUNED)
        return self._local.make_optimizer(OptimizerStart(x, rng_of(message, client, "directions"), 0, state))

    def _learned(
        self, mean: NDArray[np.float64], memory: NDArray[np.float64], told: Sequence[Mapping[str, NDArray[Any]]]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The server's new mean (d,) and memory (1 + d,) from what at least one client told."""
        told = sorted(told, key=lambda one: float(one["loss"][0]))
        parents = len(told) if self._step_size_rule == "code" else max(1, len(told) // 2)
        sigmas = np.array([one["sigmas"] for one in told[:parents]], np.float64)
        step = np.log(
            step_of(sigmas, self._population_size // 2 if self._step_size_rule == "code" else self._population_size / 2)
        )
        server = _ServerCmaEs(mean, np.array([step, *memory[1:]]), np.array([one["prompt"] for one in told]), parents)
        server.learn(np.array([one["loss"][0] for one in told]))
        grown = server.state - np.array([step - memory[0], *np.zeros(len(mean))])
        start = self.init().parameters["prompt"]
        change = server.x - start
        return start + change / max(1.0, rms(change) / self._max_norm), grown


class _ServerCmaEs(SepCma):
    """A separable CMA-ES whose samples are given, the best `parents` of which it learns from."""

    def __init__(
        self, x: NDArray[np.float64], memory: NDArray[np.float64], samples: NDArray[np.float64], parents: int
    ) -> None:
        # A CMA-ES learns from the better half of its population: for more, others that rank last fill it up.
        self._absent = max(0, 2 * parents - len(samples))
        start = OptimizerStart(x, np.random.default_rng(0), 0, memory)
        super().__init__(start, population_size=len(samples) + self._absent)
        self._points = np.concatenate([samples, np.tile(x, (self._absent, 1))])

    def learn(self, losses: NDArray[np.float64]) -> None:
        """One generation, from the losses (m,) of the given samples."""
        self.ask()
        ranks = np.unique(losses, return_inverse=True)[1]  # equal losses share one
        self.tell(np.array([*ranks, *[len(losses)] * self._absent], np.float64))

    def _sample(self) -> NDArray[np.float64]:
        return (self._points - self._origin) / self._scale


def step_of(sigmas: NDArray[np.float64], parents: float) -> float:
    """σ': the step, root mean square over the clients, that their generations make together.

    √(mean_k Σ_j σ²_kj / μ), σ (clients, generations): each generation adds the mean of μ samples, its parents, to where
    a client is. With μ = λ/2 and the better half of the clients this is eq. 6 of the paper, 2 √(Σ_k Σ_j σ²_kj / (|S|
    λ)), S all of them.
    """
    return float(np.sqrt((sigmas**2).sum(1).mean() / parents))


def words_of(texts: Inputs) -> Inputs:
    """All words of texts (b,), each once."""
    return as_texts(sorted({word for text in texts for word in text.split()}))


def replaced(texts: Inputs, words: Inputs, share: float, rng: np.random.Generator) -> Inputs:
    """Texts (b,), each word of which has become any of `words` with probability `share`."""

    def one(text: str) -> str:
        own = as_texts(text.split())
        chosen = rng.random(len(own)) < share
        own[chosen] = rng.choice(words, chosen.sum())
        return " ".join(own)

    return as_texts([one(text) for text in texts])


def _with_population(context: AlgorithmContext, population_size: int) -> MakeOptimizer:
    """The run's evolution strategy, its first distribution included, with another population.

    Raises:
        ConfigError: it is another kind of optimizer.
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
