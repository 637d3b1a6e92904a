"""Gauss–Newton steps from the answers: a trust region on a linear model of all log-probabilities.

A black box that answers with scores tells more than one loss. The differences of all log-probabilities between points
give their slopes, and with them gradient and curvature of the known loss, as sums over examples. The frame is that of
derivative-free least squares: DFO-GN (Cartis & Roberts 2019, Math. Prog. Comp. 11) and POUNDERS (Wild 2017); here for
cross-entropy, across clients. [own design]
"""

import math
from collections.abc import Mapping, Sequence
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, NonNegativeFloat, PositiveFloat

from fedbbpt.algorithms import (
    Algorithm,
    AlgorithmContext,
    ClientContext,
    ClientReply,
    ClientSizes,
    Handler,
    ModelSelection,
    OutOfDateError,
    RoundReport,
    Send,
    ServerState,
    cross_validation,
)
from fedbbpt.algorithms.aggregation import mean_losses
from fedbbpt.algorithms.design import directions, gram, nearest, quadratic_sums
from fedbbpt.algorithms.evaluation import empty_score, evaluate
from fedbbpt.algorithms.local_steps import store_fit_data, stored_fit_data
from fedbbpt.algorithms.readout_fit import empty_statistics, fit
from fedbbpt.algorithms.search_state import Search
from fedbbpt.algorithms.trust_region import Quadratic, first_points, proposals
from fedbbpt.errors import ConfigError
from fedbbpt.types import Float32, Floats, Message, Score, Statistics, Update, Usage

MOST_DIRECTIONS = 60  # the server receives d + d (d + 1) / 2 numbers of each client
MOST_POINTS = 128  # that clients remember the answers of
WINDOW = 0.8  # distance of the points at which the readout is fitted
ANSWERS, ROUND = "answers", "round"  # names in a client's memory
POINTS, RADIUS, BEST, ASKED, KEPT = ["points", "radius", "best", "asked", "kept"]  # names in messages
Array = NDArray[np.float64]


class Newton(Algorithm):
    """One prompt by Gauss–Newton steps on all clients' answers together, and the readout.

    In a round, the clients first tell gradient and curvature of the loss at the best point so far, as sums over their
    examples. The server minimises this quadratic model within a radius. All clients then query their training inputs
    under `num_candidates` prompts: steps of several lengths, and points around them that show what the model lacks. The
    best one is the next point. The sums are those of one party with all the data, however different the clients are.

    The readout is fitted to the answers at all points near the best one, which keeps it from relying on one prompt
    exactly. Clients remember their answers, so that no query is repeated. All clients take part in every round.

    With more than 60 dimensions, the search is confined to 60 random directions. Lengths are those of θ, root mean
    square over its coordinates.

    Args:
        context: the model, the optimizer (not used) and the seed.
        num_candidates: prompts that are queried per round.
        first_step: distance of the first round's candidates from the start.
        radius: the longest step that is trusted at first.
        damping: the model's penalty for long steps: `damping` · length² / 2, in nats.
    """

    model_selection: ModelSelection = "last"  # with few examples, which round has the lowest loss is chance
    settled_round = 2  # before the first round, the start is queried, too

    def __init__(
        self,
        context: AlgorithmContext,
        /,
        *,
        num_candidates: Annotated[int, Field(ge=2, le=MOST_POINTS // 2)] = 4,
        first_step: PositiveFloat = 0.7,
        radius: PositiveFloat = 1.1,
        damping: NonNegativeFloat = 0.1,
    ) -> None:
        self.model, self._seed = context.model, context.seed
        if not self.model.prompt.dim or self.model.prompt.choices:
            raise ConfigError("algorithm 'newton' tunes a prompt of real numbers; without one, use --algorithm fedavg")
        self._num_candidates, self._first_step = num_candidates, first_step
        self._radius, self._damping = radius, damping

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """See `Algorithm`."""
        return {
            "catch_up": self._catch_up,
            "quadratic_model": self._quadratic_model,
            "train": self._train,
            "fit_statistics": self._fit_statistics,
            "evaluate": self._evaluate,
        }

    def init(self) -> ServerState:
        """The prompt's own start."""
        search = Search(np.zeros((1, min(self.model.prompt.dim, MOST_DIRECTIONS))), self._radius, 0)
        return ServerState(0, {"prompt": self._start(), "readout": self.model.readout.init(1)}, search.to_arrays())

    def sample(self, state: ServerState, clients: Sequence[ClientSizes]) -> list[ClientSizes]:
        """All clients."""
        return list(clients)

    def broadcast(self, state: ServerState) -> Message:
        """The current parameters."""
        return Message(state.round + 1, self._seed, state.parameters)

    def catch_up(self, state: ServerState) -> Message:
        """The points that clients remember."""
        return self._message(state, **{POINTS: state.opt_state[POINTS]})

    def round(self, state: ServerState, send: Send) -> tuple[ServerState, RoundReport]:
        """Learns the quadratic model, asks about the points that it proposes, and fits the readout near the best."""
        if state.round == 0:
            send("catch_up", self.catch_up(state))
        search, readout = Search.of(state.opt_state), state.parameters["readout"]
        asked = self._propose(search, state, send).astype(np.float32)
        kept = nearest(search.points, search.best, MOST_POINTS - len(asked))
        message = self._message(state, **{ASKED: asked, KEPT: kept, BEST: [search.best], "readout": readout})
        losses = mean_losses(send("train", message))  # that at the best point so far comes first
        search = search.after(kept, asked, losses, adapt=state.round > 0)
        if self.model.readout.trainable:
            near = np.flatnonzero(np.linalg.norm(search.points - search.points[search.best], axis=1) <= WINDOW)
            readout = fit(self.model.readout, readout, send, self._message(state, near=near)).astype(np.float32)
        parameters = {"prompt": self._theta(search.points[search.best]), "readout": readout}
        loss = float(np.nanmin(losses)) if np.isfinite(losses).any() else math.nan
        return ServerState(state.round + 1, parameters, search.to_arrays()), RoundReport(loss)

    def _propose(self, search: Search, state: ServerState, send: Send) -> Array:
        """The next points (num_candidates, r)."""
        count, width = self._num_candidates, search.points.shape[1]
        rng = np.random.default_rng([state.round, self._seed])
        if state.round == 0:
            return first_points(count, width, self._first_step, rng)
        known = min(width, len(search.points) - 1 + count)  # directions to search in
        points, best, radius = search.points[:, :known], search.best, search.radius
        parts = {POINTS: points, BEST: [best], RADIUS: [radius], "readout": state.parameters["readout"]}
        replies = send("quadratic_model", self._message(state, **parts))
        model = Quadratic.of(np.sum([reply.values for reply in replies], 0, np.float64), known, self._damping)
        found = proposals(points[best], model, radius, gram(points, points[best], radius), count, rng)
        return np.pad(found, ((0, 0), (0, width - known)))

    def template(self, handler: str, message: Message) -> ClientReply:
        """See `Algorithm`."""
        if handler == "evaluate":
            return empty_score(self.model, message.parameters)
        if handler == "catch_up":
            return Update("", {}, 0, math.nan, Usage())
        if handler == "fit_statistics":
            scores = np.zeros((0, 1, len(self.model.info.classes)), np.float32)
            return empty_statistics(self.model.readout, message, scores)
        if handler == "quadratic_model":
            r = message.parameters[POINTS].shape[1]
            return Statistics(np.zeros(1 + r + r * (r + 1) // 2, np.float32))
        losses = np.full(1 + len(message.parameters[ASKED]), np.nan, np.float32)
        return Update("", {"losses": losses}, 0, math.nan, Usage())

    def expected_usage(self, client: ClientSizes, round_: int) -> Usage:
        """See `Algorithm`."""
        first = self.model.usage(1, client.train) if round_ == 1 else Usage()
        return first + self.model.usage(self._num_candidates, client.train)

    def most_exchanges(self, round_: int) -> int:
        """The fit, the candidates, and the quadratic model; before the first round, clients catch up instead."""
        return self.model.readout.most_exchanges + 2

    def parameter_counts(self, rounds: int) -> dict[str, int]:
        """See `Algorithm`."""
        return {"prompt": self.model.prompt.dim, "readout": len(self.model.readout.init(1))}

    def _catch_up(self, message: Message, ctx: ClientContext) -> Update:
        """Queries the training inputs under all points that the others remember, and forgets everything else."""
        ctx.state.clear()
        ctx.scratch.clear()
        ctx.state[ANSWERS], usage = self._ask(message.parameters[POINTS], ctx)
        ctx.state[ROUND] = np.array([message.round - 1])
        return Update(ctx.id, {}, len(ctx.data.train), math.nan, usage)

    def _quadratic_model(self, message: Message, ctx: ClientContext) -> Statistics:
        """Number of examples, and the loss's gradient (r,) and Gauss-Newton matrix, its upper half, as sums."""
        points, best, radius = (message.parameters[part].astype(np.float64) for part in (POINTS, BEST, RADIUS))
        scores = self._remembered(message.round - 1, ctx)[:, :, None]  # (n, N, 1, C)
        log_p = self.model.readout.log_probabilities(message.parameters["readout"], scores)  # (n, N, K)
        sums = quadratic_sums(log_p, ctx.data.train.labels, points, int(best[0]), float(radius[0]))
        return Statistics(sums.astype(np.float32))

    def _train(self, message: Message, ctx: ClientContext) -> Update:
        """Queries the training inputs under the candidates; replies with mean losses, that at the best point first."""
        known = self._remembered(message.round - 1, ctx)
        answers, usage = self._ask(message.parameters[ASKED], ctx)
        scores = np.concatenate([known[[int(message.parameters[BEST][0])]], answers])  # (1 + m, N, C)
        losses = self.model.losses(message.parameters["readout"], scores[:, :, None], ctx.data.train.labels)
        ctx.state[ANSWERS] = np.concatenate([known[message.parameters[KEPT].astype(np.int64)], answers])
        ctx.state[ROUND] = np.array([message.round])
        payload = {"losses": losses.astype(np.float32)}
        return Update(ctx.id, payload, len(ctx.data.train), math.nan, usage)

    def _fit_statistics(self, message: Message, ctx: ClientContext) -> Statistics:
        """The readout's statistics of the answers at the points near the best one."""
        if "labels" not in ctx.scratch or not np.array_equal(ctx.scratch[ROUND], [message.round]):
            near = self._remembered(message.round, ctx)[message.parameters["near"].astype(np.int64)]
            labels = np.tile(ctx.data.train.labels, len(near))
            store_fit_data(ctx, self.model.readout.fit_data(near.reshape(-1, 1, near.shape[-1]), labels))
            ctx.scratch[ROUND] = np.array([message.round])
        return cross_validation.statistics(self.model.readout, message, stored_fit_data(ctx), ctx.id)

    def _evaluate(self, message: Message, ctx: ClientContext) -> Score:
        return evaluate(ctx, message.parameters, message)

    def _ask(self, points: Floats, ctx: ClientContext) -> tuple[Float32, Usage]:
        """Scores (n, N, C) of all training inputs at points (n, r), and their usage."""
        # One by one: the server's θ then has the bits of the clients'.
        return ctx.training_scores(np.stack([self._theta(point) for point in points]))

    def _remembered(self, round_: int, ctx: ClientContext) -> Float32:
        """The answers (n, N, C) at the points of this round's end.

        Raises:
            OutOfDateError: the client does not remember them.
        """
        if ROUND not in ctx.state or ctx.state[ROUND][0] != round_:
            raise OutOfDateError
        return ctx.state[ANSWERS]

    def _start(self) -> Float32:
        return self.model.prompt.init(np.random.default_rng(self._seed))

    def _theta(self, point: Floats) -> Float32:
        """θ (d,) at a point (r,)."""
        rows = directions(self._seed, len(point), self.model.prompt.dim)
        theta: Float32 = (self._start() + point.astype(np.float64) @ rows).astype(np.float32)
        return theta

    def _message(self, state: ServerState, **parts: object) -> Message:
        """A message of the next round."""
        return Message(state.round + 1, self._seed, {}).having(**parts)
