"""Several prompts, chosen one by one for the linear readout that reads the answers to all of them.

Its parts are known: matching pursuit (Mallat & Zhang 1993) over random features (Rahimi & Recht 2008), where a feature
is the model's answer to the input under a random prompt. [own design]
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

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
)
from fedbbpt.algorithms.evaluation import empty_score, evaluate
from fedbbpt.algorithms.local_steps import keep_answers, kept_answers
from fedbbpt.algorithms.readout_fit import empty_statistics, fit, summed_statistics
from fedbbpt.errors import ConfigError
from fedbbpt.optim import OptimizerStart
from fedbbpt.readouts.linear import LinearReadout
from fedbbpt.types import Float32, Floats, Message, Score, Statistics, Update, Usage

MOST_PROMPTS = 1024  # queries for each prediction
ANSWERS, ROUND, PROMPTS = "answers", "round", "prompts"  # of what a client remembers


class Ensemble(Algorithm):
    """A few prompts for each input instead of one, found by trying; a linear readout reads the answers to all of them.

    Each prediction takes `num_prompts` queries. In a round, all clients ask about all their training inputs under the
    same candidates, which the optimizer proposes from a seed, and tell how far each would lower the loss of the readout
    (`LinearReadout.candidate_gains`: sums, as for its fit). The best becomes a further prompt; once there are
    `num_prompts` of them, each round gives up one in turn and takes the best of itself and the candidates around it.

    The first prompt is the start of a single one. Clients remember their answers to the chosen prompts, so that nothing
    is asked twice; all of them take part in every round.
    """

    model_selection: ModelSelection = "last"  # a round only adds to what is read; on few examples, lowest is chance

    def __init__(
        self, context: AlgorithmContext, /, *, num_prompts: Annotated[int, Field(ge=1, le=MOST_PROMPTS)] = 8
    ) -> None:
        self.model, self._make_optimizer, self._seed = context.model, context.optimizer, context.seed
        self._num_prompts = num_prompts
        readout = self.model.readout
        if not isinstance(readout, LinearReadout) or not self.model.prompt.dim:
            raise ConfigError(
                "algorithm 'ensemble' chooses prompts for a head: give it both, or use --algorithm fedavg"
            )
        self._readout = readout

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """See `Algorithm`."""
        return {
            "catch_up": self._catch_up,
            "train": self._train,
            "fit_statistics": self._fit_statistics,
            "commit": self._commit,
            "evaluate": self._evaluate,
        }

    def init(self) -> ServerState:
        """One prompt: the start of a single one."""
        return ServerState(0, {"prompt": self._start(), "readout": self._readout.init(1)})

    def sample(self, state: ServerState, clients: Sequence[ClientSizes]) -> list[ClientSizes]:
        """Everybody."""
        return list(clients)

    def broadcast(self, state: ServerState) -> Message:
        """The current parameters."""
        return Message(state.round + 1, self._seed, state.parameters)

    def round(self, state: ServerState, send: Send) -> tuple[ServerState, RoundReport]:
        """A fit without the prompt that may go, the candidates' gains, a fit with the best of them."""
        message = self.broadcast(state)
        if state.round == 0:
            send("catch_up", message)
        prompts = self.model.split_prompts(message.parameters["prompt"])
        weights: Floats = message.parameters["readout"]
        candidates, slot = self._candidates(message), self._slot(message)

        def refit(start: Floats, chosen: list[int]) -> NDArray[np.float64]:
            return fit(self._readout, start, send, _with(message, prompts=chosen))

        stay = [prompt for prompt in range(len(prompts)) if prompt != slot]
        tried = [prompt for prompt in range(len(prompts) + len(candidates)) if prompt not in stay]
        weights = refit(self._readout.resized(weights, remove=slot if slot < len(prompts) else None), stay)
        told = {"prompt": message.parameters["prompt"], "readout": weights, PROMPTS: stay, "tried": tried}
        updates = send("train", _with(message, **told))
        slopes = np.stack([update.payload["slopes"] for update in updates])  # (clients, tried, ·)
        slopes[np.isnan(slopes[:, -len(candidates) :]).all((1, 2))] = 0  # who has no answer to them does not count
        gains = self._readout.candidate_gains(slopes.sum(0, np.float64))
        best = tried[int(np.argmax(np.where(np.isnan(gains), -np.inf, gains)))]
        chosen = [*stay[:slot], best, *stay[slot:]]
        weights = refit(self._readout.resized(weights, insert=slot), chosen)
        count, loss = summed_statistics(weights, send, last := _with(message, prompts=chosen))[:2]
        send("commit", last)
        new = np.concatenate([prompts, candidates])[chosen]
        parameters = {"prompt": new.astype(np.float32).ravel(), "readout": weights.astype(np.float32)}
        return ServerState(message.round, parameters), RoundReport(loss / count if count else math.nan)

    def template(self, handler: str, message: Message) -> ClientReply:
        """See `Algorithm`."""
        if handler == "evaluate":
            return empty_score(self.model, message.parameters)
        if handler == "commit":
            return Statistics(np.zeros(0, np.float32))
        if handler == "catch_up":
            return Update("", {}, 0, math.nan, Usage())
        parts, inputs = message.parameters, len(self.model.info.classes)
        scores = np.zeros((0, len(parts[PROMPTS]), inputs), np.float32)
        if handler == "fit_statistics":
            return empty_statistics(self._readout, parts["readout"], scores)
        more = np.zeros((len(parts["tried"]), 0, inputs), np.float32)
        slopes = self._readout.candidate_gradients(parts["readout"], scores, more, np.zeros(0, np.int64))
        return Update("", {"slopes": np.full_like(slopes, np.nan, np.float32)}, 0, math.nan, Usage())

    @property
    def settled_round(self) -> int:
        """See `Algorithm`."""
        return max(2, self._num_prompts)

    def expected_usage(self, client: ClientSizes, round_: int) -> Usage:
        """See `Algorithm`."""
        start = OptimizerStart(self._start().astype(np.float64), np.random.default_rng(0))
        first = self.model.usage(1, client.train) if round_ == 1 else Usage()
        return first + self.model.usage(self._make_optimizer(start).population_size, client.train)

    def prompts_per_input(self, round_: int) -> int:
        """One more per round, until there are all."""
        return min(1 + round_, self._num_prompts)

    def parameter_counts(self, rounds: int) -> dict[str, int]:
        """See `Algorithm`."""
        prompts = self.prompts_per_input(rounds)
        return {
            "prompt": prompts * self.model.prompt.dim,
            "readout": len(self._readout.init(prompts)),
        }

    def _catch_up(self, message: Message, ctx: ClientContext) -> Update:
        """Asks about the current prompts; what the client remembered before goes."""
        prompts = self.model.split_prompts(message.parameters["prompt"])
        ctx.state.clear()
        ctx.scratch.clear()
        ctx.state[ANSWERS], usage = self._ask(prompts, ctx)
        ctx.state[ROUND] = np.array([message.round - 1])
        return Update(ctx.id, {}, len(ctx.data.train), math.nan, usage)

    def _train(self, message: Message, ctx: ClientContext) -> Update:
        """Asks about the candidates, and says what each prompt that is `tried` promises beside the chosen ones."""
        ctx.scratch[ANSWERS], usage = self._ask(self._candidates(message), ctx)
        kept, more = (self._answers(message, part, ctx) for part in (PROMPTS, "tried"))
        slopes = self._readout.candidate_gradients(
            message.parameters["readout"], kept.swapaxes(0, 1), more, ctx.data.train.labels
        )
        payload = {"slopes": slopes.astype(np.float32)}
        return Update(ctx.id, payload, len(ctx.data.train), math.nan, usage)

    def _fit_statistics(self, message: Message, ctx: ClientContext) -> Statistics:
        """What the readout's fit wants to know of the answers to the message's prompts."""
        prompts = message.parameters[PROMPTS]
        if not np.array_equal(ctx.scratch.get(PROMPTS, np.full(1, -1)), prompts):
            scores = self._answers(message, PROMPTS, ctx).swapaxes(0, 1)  # (N, V, C)
            keep_answers(ctx, self._readout.fit_data(scores, ctx.data.train.labels))
            ctx.scratch[PROMPTS] = prompts
        statistics = self._readout.statistics(message.parameters["readout"], kept_answers(ctx))
        return Statistics(statistics.astype(np.float32))

    def _commit(self, message: Message, ctx: ClientContext) -> Statistics:
        """Forgets all answers but those to the message's prompts."""
        ctx.state[ANSWERS] = self._answers(message, PROMPTS, ctx)
        ctx.state[ROUND] = np.array([message.round])
        ctx.scratch.clear()
        return Statistics(np.zeros(0, np.float32))

    def _evaluate(self, message: Message, ctx: ClientContext) -> Score:
        return evaluate(ctx, message.parameters, message.subset)

    def _start(self) -> Float32:
        return self.model.prompt.init(np.random.default_rng(self._seed))

    def _slot(self, message: Message) -> int:
        """Where the round's prompt goes: behind the others, or to where one is given up."""
        prompts = len(self.model.split_prompts(message.parameters["prompt"]))
        return prompts if prompts < self._num_prompts else (message.round - 1) % prompts

    def _candidates(self, message: Message) -> Float32:
        """(n, d), the same for all clients: around the prompt's start, or around the prompt that may go.

        In the precision of the parameters, so that what is asked about is what may be kept.
        """
        prompts, slot = self.model.split_prompts(message.parameters["prompt"]), self._slot(message)
        turns = max(0, message.round - self._num_prompts) // self._num_prompts + 1 if slot < len(prompts) else 0
        rng = np.random.default_rng([message.seed, message.round])
        centre = prompts[slot] if slot < len(prompts) else self._start()
        return self._make_optimizer(OptimizerStart(centre, rng, turns)).ask().astype(np.float32)

    def _ask(self, prompts: Floats, ctx: ClientContext) -> tuple[Float32, Usage]:
        """Answers (n, N, C) about all of the client's training inputs."""
        objective, meter = ctx.metered()
        return objective.answers(prompts, ctx.data.train.batch(slice(None)))[:, :, 0], meter.usage

    def _answers(self, message: Message, part: str, ctx: ClientContext) -> Float32:
        """Answers (n, N, C) to the prompts, and then candidates, whose numbers are a part of the message.

        Raises:
            OutOfDateError: the client does not remember them.
        """
        if ROUND not in ctx.state or ctx.state[ROUND][0] != message.round - 1:
            raise OutOfDateError
        known = np.concatenate([part[ANSWERS] for part in (ctx.state, ctx.scratch) if ANSWERS in part])
        wanted = message.parameters[part].astype(np.int64)
        if len(wanted) and wanted.max() >= len(known):
            raise OutOfDateError
        return known[wanted]


def _with(message: Message, **parts: object) -> Message:
    """A message of the same round that says this."""
    return replace(message, parameters={name: np.asarray(values, np.float32) for name, values in parts.items()})
