"""An ensemble of prompts, selected greedily; one linear readout takes the scores under all of them.

It combines matching pursuit (Mallat & Zhang 1993) and random features (Rahimi & Recht 2008): a feature is the model's
scores under a random prompt. A single prompt: variable projection (Golub & Pereyra 1973). [own design]
"""

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, NonNegativeFloat

from fedbbpt.algorithms import (
    Algorithm,
    AlgorithmContext,
    ClientContext,
    ClientReply,
    ClientSizes,
    CrossValidated,
    Handler,
    ModelSelection,
    OutOfDateError,
    RoundReport,
    Send,
    ServerState,
    cross_validation,
)
from fedbbpt.algorithms.evaluation import empty_score, evaluate
from fedbbpt.algorithms.local_steps import store_fit_data, stored_fit_data
from fedbbpt.algorithms.readout_fit import empty_statistics, fit, folded_fit, summed_statistics
from fedbbpt.errors import ConfigError
from fedbbpt.optim import OptimizerStart, unit
from fedbbpt.readouts.linear import LinearReadout
from fedbbpt.types import Float32, Floats, Message, Score, Statistics, Update, Usage

MOST_PROMPTS = 1024  # queries per prediction
ANSWERS, ROUND, PROMPTS = "answers", "round", "prompts"  # names in a client's memory
STATISTICS = "statistics"  # of candidates, in an update
FITTED, COUNTS = "fitted", "counts"  # the examples of the last fit, and how it was cross-validated


class Ensemble(Algorithm):
    """Prompts selected greedily from random candidates; one linear readout takes all their scores.

    Each prediction takes a query per prompt. In a round, all clients query all their training inputs under the same
    candidates, which the optimizer draws from a seed. They report sums from which the server computes how good each is
    (`LinearReadout.candidate_gains`), and the best joins. Once there are `num_prompts` prompts, each round replaces one
    of them, in turn, with the best of itself and the candidates around it. The first is the prompt's own start. Clients
    remember the scores under the selected prompts, so that no query is repeated. All take part in every round.

    Args:
        context: the model, the optimizer and the seed.
        num_prompts: the most prompts.
        prompt_decay: λ, in nats: the loss of a single prompt counts λ / 2 more for each (`optim.unit`)² of its mean
            squared change from the start; with few examples, some candidate always looks better by chance.
        selection: "random" is a control by chance: the first of a round's candidates, all around the start, joins.
    """

    model_selection: ModelSelection = "last"  # with few examples, which round has the lowest loss is chance

    def __init__(
        self,
        context: AlgorithmContext,
        /,
        *,
        num_prompts: Annotated[int, Field(ge=1, le=MOST_PROMPTS)] = 8,
        prompt_decay: NonNegativeFloat = 0.1,
        selection: Literal["greedy", "random"] = "greedy",
    ) -> None:
        self.model, self._make_optimizer, self._seed = context.model, context.optimizer, context.seed
        self._num_prompts, self._prompt_decay, self._greedy = num_prompts, prompt_decay, selection == "greedy"
        readout = self.model.readout
        if not isinstance(readout, LinearReadout) or not self.model.prompt.dim:
            raise ConfigError(
                "algorithm 'ensemble' chooses prompts for a linear readout: give it both, or use --algorithm fedavg"
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
        """One prompt, at its own start."""
        return ServerState(0, {"prompt": self._start(), "readout": self._readout.init(1)})

    def sample(self, state: ServerState, clients: Sequence[ClientSizes]) -> list[ClientSizes]:
        """All clients."""
        return list(clients)

    def broadcast(self, state: ServerState) -> Message:
        """The current parameters."""
        return Message(state.round + 1, self._seed, state.parameters)

    def round(self, state: ServerState, send: Send) -> tuple[ServerState, RoundReport]:
        """Fits the readout without the prompt to replace, selects the best candidate, and fits again with it."""
        message = self.broadcast(state)
        if state.round == 0:
            send("catch_up", message)
        prompts = self.model.split_prompts(message.parameters["prompt"])
        weights: Floats = message.parameters["readout"]
        candidates, slot = self._candidates(message), self._slot(message)
        stay = [prompt for prompt in range(len(prompts)) if prompt != slot]
        tried = [prompt for prompt in range(len(prompts) + len(candidates)) if prompt not in stay]
        rest = self._readout.resized(weights, remove=slot if slot < len(prompts) else None)
        rest = fit(self._readout, rest, send, message.having(prompts=stay)) if stay else rest
        known = message.having(prompt=message.parameters["prompt"], readout=rest, prompts=stay, tried=tried)
        updates = send("train", known)
        statistics = np.stack([update.payload[STATISTICS] for update in updates])  # (clients, tried, ·)
        statistics[np.isnan(statistics[:, -len(candidates) :]).all((1, 2))] = 0  # clients without scores are ignored
        gains = self._readout.candidate_gains(statistics.sum(0, np.float64), len(stay))
        everything = np.concatenate([prompts, candidates])
        if not stay:
            change = (everything[tried] - self._start()) / unit(self.model.prompt.dim)
            gains -= self._prompt_decay / 2 * (change**2).mean(1)
        best = tried[int(np.argmax(np.where(np.isnan(gains), -np.inf, gains)))] if self._greedy else len(prompts)
        chosen = [*stay[:slot], best, *stay[slot:]]
        examples = sum(update.weight for update in updates)
        is_fitted = chosen == list(range(len(prompts))) and examples == state.opt_state.get(FITTED)
        commit = message.having(prompts=chosen)
        if not is_fitted:
            weights, folds = folded_fit(self._readout, self._readout.resized(rest, insert=slot), send, commit)
            commit = message.having(prompts=chosen, folds=folds)
        weights = weights.astype(np.float32)
        count, loss, *others = summed_statistics(weights, send, commit, "commit")
        counts = state.opt_state[COUNTS] if is_fitted else np.array(others[-3:], np.float32)
        parameters = {"prompt": everything[chosen].astype(np.float32).ravel(), "readout": weights}
        new = ServerState(message.round, parameters, {FITTED: np.array(examples), COUNTS: counts})
        return new, RoundReport(loss / count if count else math.nan, CrossValidated(*map(int, counts)))

    def template(self, handler: str, message: Message) -> ClientReply:
        """See `Algorithm`."""
        if handler == "evaluate":
            return empty_score(self.model, message.parameters)
        if handler == "catch_up":
            return Update("", {}, 0, math.nan, Usage())
        parts, inputs = message.parameters, len(self.model.info.classes)
        scores = np.zeros((0, len(parts[PROMPTS]), inputs), np.float32)
        if handler in ("fit_statistics", "commit"):
            return empty_statistics(self._readout, message, scores)
        more = np.zeros((len(parts["tried"]), 0, inputs), np.float32)
        statistics = self._readout.candidate_statistics(parts["readout"], scores, more, np.zeros(0, np.int64))
        return Update("", {STATISTICS: np.full_like(statistics, np.nan, np.float32)}, 0, math.nan, Usage())

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
        """One more per round, up to `num_prompts`."""
        return min(1 + round_, self._num_prompts)

    def most_exchanges(self, round_: int) -> int:
        """Two fits, or one where there is one prompt; candidates and commit; before the first round, to catch up."""
        fits = 1 if self._num_prompts == 1 else 2
        return fits * self._readout.most_exchanges + (3 if round_ == 1 else 2)

    def parameter_counts(self, rounds: int) -> dict[str, int]:
        """See `Algorithm`."""
        prompts = self.prompts_per_input(rounds)
        return {"prompt": prompts * self.model.prompt.dim, "readout": len(self._readout.init(prompts))}

    def _catch_up(self, message: Message, ctx: ClientContext) -> Update:
        """Queries the training inputs under the current prompts, and forgets everything else."""
        prompts = self.model.split_prompts(message.parameters["prompt"])
        ctx.state.clear()
        ctx.scratch.clear()
        ctx.state[ANSWERS], usage = ctx.training_scores(prompts)
        ctx.state[ROUND] = np.array([message.round - 1])
        return Update(ctx.id, {}, len(ctx.data.train), math.nan, usage)

    def _train(self, message: Message, ctx: ClientContext) -> Update:
        """Queries the training inputs under the candidates; replies with what each tried prompt promises, as sums."""
        ctx.scratch[ANSWERS], usage = ctx.training_scores(self._candidates(message))
        chosen, tried = (self._answers(message, part, ctx) for part in (PROMPTS, "tried"))
        statistics = self._readout.candidate_statistics(
            message.parameters["readout"], chosen.swapaxes(0, 1), tried, ctx.data.train.labels
        )
        payload = {STATISTICS: statistics.astype(np.float32)}
        return Update(ctx.id, payload, len(ctx.data.train), math.nan, usage)

    def _fit_statistics(self, message: Message, ctx: ClientContext) -> Statistics:
        """The readout's statistics of the scores under the message's prompts, and those of the folds if asked."""
        prompts = message.parameters[PROMPTS]
        if not np.array_equal(ctx.scratch.get(PROMPTS, np.full(1, -1)), prompts):
            scores = self._answers(message, PROMPTS, ctx).swapaxes(0, 1)  # (N, V, C)
            store_fit_data(ctx, self._readout.fit_data(scores, ctx.data.train.labels))
            ctx.scratch[PROMPTS] = prompts
        return cross_validation.statistics(self._readout, message, stored_fit_data(ctx), ctx.id)

    def _commit(self, message: Message, ctx: ClientContext) -> Statistics:
        """The statistics under the new parameters; forgets all scores but those under the message's prompts."""
        statistics = self._fit_statistics(message, ctx)
        ctx.state[ANSWERS] = self._answers(message, PROMPTS, ctx)
        ctx.state[ROUND] = np.array([message.round])
        ctx.scratch.clear()
        return statistics

    def _evaluate(self, message: Message, ctx: ClientContext) -> Score:
        return evaluate(ctx, message.parameters, message)

    def _start(self) -> Float32:
        return self.model.prompt.init(np.random.default_rng(self._seed))

    def _slot(self, message: Message) -> int:
        """The index of the prompt that this round adds or replaces."""
        prompts = len(self.model.split_prompts(message.parameters["prompt"]))
        return prompts if prompts < self._num_prompts else (message.round - 1) % prompts

    def _candidates(self, message: Message) -> Float32:
        """Candidates (n, d), the same for all clients: around the prompt's start, or around the prompt to replace.

        They are float32, as the parameters are, so that a selected candidate is exactly the one that was queried.
        """
        prompts, slot = self.model.split_prompts(message.parameters["prompt"]), self._slot(message)
        around = slot < len(prompts) and self._greedy
        turns = max(0, message.round - self._num_prompts) // self._num_prompts + 1 if around else 0
        rng = np.random.default_rng([message.seed, message.round])
        centre = prompts[slot] if around else self._start()
        return self._make_optimizer(OptimizerStart(centre, rng, turns)).ask().astype(np.float32)

    def _answers(self, message: Message, part: str, ctx: ClientContext) -> Float32:
        """Scores (n, N, C) under the prompts whose indices are this part of the message; candidates come last.

        Raises:
            OutOfDateError: the client does not remember these scores.
        """
        if ROUND not in ctx.state or ctx.state[ROUND][0] != message.round - 1:
            raise OutOfDateError
        known = np.concatenate([part[ANSWERS] for part in (ctx.state, ctx.scratch) if ANSWERS in part])
        wanted = message.parameters[part].astype(np.int64)
        if len(wanted) and wanted.max() >= len(known):
            raise OutOfDateError
        return known[wanted]
