"""One optimizer at the server; in each round all clients measure the same candidates, and their losses are summed.

The federation then searches exactly as one party with all the data would.
"""

import math
from dataclasses import replace
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveInt

from fedbbpt.algorithms import AlgorithmContext, ClientContext, RoundReport, Send, ServerState
from fedbbpt.algorithms.calibration import finite_mean, mean_loss, spread_of
from fedbbpt.algorithms.fedavg import FedAvg
from fedbbpt.algorithms.local_steps import StepQueries
from fedbbpt.algorithms.sampling import number_of_clients, rng_of, rounded
from fedbbpt.optim import Optimizer, OptimizerStart
from fedbbpt.types import Float32, Floats, Message, Update

LOSSES, CANDIDATES = "losses", "candidates"


class CommonCandidates(FedAvg):
    """The server's optimizer asks, all clients measure the same candidates, and it is told their summed losses.

    A round is one turn of ask and tell, say a generation of `cma`, and one exchange. An evolution strategy so keeps all
    that it learns: its mean, covariance matrix, evolution paths and step size. In `fedavg` each client runs its own,
    and only what can be averaged lives on.

    The server's state holds the losses of all rounds, from which the optimizer is run again, bit for bit; that takes
    time, but no query. Losses are divided by the spread of the first round's. The readout is fitted as in `fedavg`.

    Args:
        context: the model, the optimizer and the seed.
        participation: share of the clients that take part in a round; at least one does.
        clients_per_round: number of clients per round, in place of `participation`.
        batch_size: examples of a client's minibatch, drawn without replacement; a client with fewer uses all of them.
            Unset, 32 divided among the clients of a round, since many generations on few examples lower the loss
            faster for the same queries; or 128 with a readout that is fitted to the same answers.
    """

    def __init__(
        self,
        context: AlgorithmContext,
        /,
        *,
        participation: Annotated[float, Field(gt=0, le=1)] = 1.0,
        clients_per_round: PositiveInt | None = None,
        batch_size: PositiveInt | None = None,
    ) -> None:
        together = number_of_clients(participation, clients_per_round, context.clients)
        if batch_size is None and not context.model.readout.trainable:
            batch_size = math.ceil(32 / together)
        super().__init__(
            replace(context, clients=1),  # whatever their number, there is one optimizer
            participation=participation,
            clients_per_round=clients_per_round,
            batch_size=batch_size,
        )

    def init(self) -> ServerState:
        """The prompt's and the readout's own initial parameters, and no losses."""
        state = super().init()
        parameters = {part: state.parameters[part] for part in ("prompt", "readout")}
        population_size = self._local.fresh(state.parameters["prompt"]).population_size
        return replace(state, parameters=parameters, opt_state={LOSSES: np.zeros((0, population_size), np.float32)})

    def broadcast(self, state: ServerState) -> Message:
        """The current parameters."""
        return self._full(state)

    def round(self, state: ServerState, send: Send) -> tuple[ServerState, RoundReport]:
        """One turn of the optimizer; then fits the readout, in an exchange per evaluation."""
        optimizer = self._optimizer(state)
        asked = {CANDIDATES: optimizer.ask().astype(np.float32), "readout": state.parameters["readout"]}
        updates = send("train", Message(state.round + 1, self._seed, asked))
        history = np.concatenate([state.opt_state[LOSSES], mean_of(updates)[None]])
        optimizer.tell(_standardised(history)[-1])
        parameters = {**state.parameters, "prompt": optimizer.x.astype(np.float32)}
        new = ServerState(state.round + 1, parameters, {LOSSES: history})
        return self._with_fitted_readout(new, send, mean_loss(updates))

    def _train(self, message: Message, ctx: ClientContext) -> Update:
        """Measures the candidates on a minibatch; replies with the sums of their losses, relative to their mean."""
        queries, data = StepQueries(ctx, self.model), ctx.data.train
        batch = self._local.batch(data, rng_of(message, ctx.id, "batches"))
        scores = queries.answers(message.parameters[CANDIDATES], batch)  # (n, b, V, C)
        queries.store()
        losses = self.model.losses(message.parameters["readout"], scores, batch.labels)  # (n,)
        mean = finite_mean(losses)
        sums = np.where(np.isfinite(losses), len(data) * (losses - mean), np.nan)
        spread = rounded(spread_of(losses))
        return Update(ctx.id, {LOSSES: sums.astype(np.float32)}, len(data), rounded(mean), queries.usage, spread)

    def _empty_update(self) -> Update:
        losses = np.full(self.init().opt_state[LOSSES].shape[1], np.nan, np.float32)
        return replace(self._local.template(), payload={LOSSES: losses})

    def _optimizer(self, state: ServerState) -> Optimizer:
        """The optimizer after all rounds so far."""
        history = state.opt_state[LOSSES]
        rng = np.random.default_rng([self._seed, state.round - len(history)])
        optimizer = self._local.make_optimizer(OptimizerStart(self.init().parameters["prompt"], rng))
        for losses in _standardised(history):
            optimizer.ask()
            optimizer.tell(losses)
        return optimizer


def mean_of(updates: list[Update]) -> Float32:
    """The mean losses (n,) over all clients' examples; NaN where no client measured a candidate.

    Where a single client did not, the candidate counts there as its others on average.
    """
    sums = np.array([update.payload[LOSSES] for update in updates], np.float64)  # (clients, n)
    measured, total = np.isfinite(sums), sum(update.weight for update in updates)
    mean: NDArray[Any] = np.where(measured.any(0), np.where(measured, sums, 0.0).sum(0) / total, np.nan)
    return mean.astype(np.float32)


def _standardised(history: Floats) -> NDArray[np.float64]:
    """Losses (rounds, n) as the optimizer is told them."""
    spread = spread_of(history[0]) if len(history) else 1.0
    return history.astype(np.float64) / (spread if spread > 0 else 1.0)
