"""Several prompts, chosen one by one for the head that reads all their answers.

Its parts are known: matching pursuit (Mallat & Zhang 1993) over random features (Rahimi & Recht 2008), where a feature
is the model's answer to the input under a random prompt. [own design]
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fedbbpt.algorithms import Exchange, Keeps, Parts, Reply, State
from fedbbpt.algorithms.readouts import blank_sums, fit, total_of
from fedbbpt.algorithms.score import blank_score, metered, score
from fedbbpt.errors import ConfigError
from fedbbpt.optim import OptimizerStart
from fedbbpt.readouts import ReadoutData
from fedbbpt.readouts.linear import LinearReadout
from fedbbpt.types import Client, Float32, Floats, Message, Score, Sums, Update, Usage

MOST_VIEWS = 1024  # queries for each prediction


class Greedy:
    """A few prompts for each input instead of one, found by trying; a head reads the answers to all of them.

    Each prediction takes `views` queries. In a round, all clients ask about all their training inputs under the same
    candidates, which the optimizer proposes from a seed, and tell how far each would lower the loss of the head
    (`LinearReadout.candidate_gains`: sums, as for its fit). The best becomes a further view; once there are `views` of
    them, each round gives up one in turn and takes the best of itself and the candidates around it.

    The first view is the prompt's own start. Clients keep their answers to the chosen views, so that nothing is asked
    twice; all of them take part in every round.
    """

    federated = True
    keeps: Keeps = "latest"  # a round only adds to what the head reads; which is lowest on a few examples is chance

    def __init__(self, parts: Parts, /, *, views: Annotated[int, Field(ge=1, le=MOST_VIEWS)] = 8) -> None:
        self._objective, self._make_optimizer, self._seed = parts
        self._views, self.settled = views, max(2, views)
        head = self._objective.readout
        if not isinstance(head, LinearReadout) or not self._objective.prompt.dim:
            raise ConfigError("algorithm 'greedy' chooses prompts for a head: give it both, or use --algorithm fedavg")
        self._head = head
        # By client, in its hands: the answers to views, then candidates (v + n, N, C), and those that a fit is about.
        self._answers: dict[str, Float32] = {}
        self._ready: dict[str, tuple[tuple[float, ...], ReadoutData]] = {}

    def init(self) -> State:
        """One view: the prompt's own start."""
        return State(0, {"prompt": self._start(), "readout": self._head.init(1)})

    def sample(self, state: State, clients: Sequence[Client]) -> list[Client]:
        """Everybody."""
        return list(clients)

    def broadcast(self, state: State) -> Message:
        """The current parameters."""
        return Message(state.round + 1, self._seed, state.parameters)

    def round(self, state: State, exchange: Exchange) -> tuple[State, float]:
        """See `Algorithm`."""
        self._answers, self._ready = dict(state.memory), {}
        message = self.broadcast(state)
        if not state.memory:
            exchange(self.begin, message)
        prompts = self._objective.views(message.parameters["prompt"])
        weights: Floats = message.parameters["readout"]
        candidates, slot = self._candidates(message), self._slot(message)

        def refit(start: Floats, views: list[int]) -> NDArray[np.float64]:
            return fit(self._head, start, exchange, self.sums, _with(message, views=views))

        stay = [view for view in range(len(prompts)) if view != slot]
        tried = [view for view in range(len(prompts) + len(candidates)) if view not in stay]
        weights = refit(self._head.resized(weights, remove=slot if slot < len(prompts) else None), stay)
        told = {"prompt": message.parameters["prompt"], "readout": weights, "views": stay, "tried": tried}
        updates = exchange(self.local, _with(message, **told))
        slopes = np.stack([update.payload["slopes"] for update in updates])  # (clients, tried, ·)
        slopes[np.isnan(slopes[:, -len(candidates) :]).all((1, 2))] = 0  # who has no answer to them does not count
        gains = self._head.candidate_gains(slopes.sum(0, np.float64))
        best = tried[int(np.argmax(np.where(np.isnan(gains), -np.inf, gains)))]
        chosen = [*stay[:slot], best, *stay[slot:]]
        weights = refit(self._head.resized(weights, insert=slot), chosen)
        exchange(self.keep, last := _with(message, views=chosen))
        count, loss = total_of(weights, exchange, self.sums, _with(last, views=range(len(chosen))))[:2]
        new = np.concatenate([prompts, candidates])[chosen]
        parameters = {"prompt": new.astype(np.float32).ravel(), "readout": weights.astype(np.float32)}
        return State(message.round, parameters, self._answers), loss / count if count else float("nan")

    def begin(self, message: Message, client: Client) -> Update:
        """Answers to the first view."""
        return self._ask(message.parameters["prompt"][None], client)

    def local(self, message: Message, client: Client) -> Update:
        """Answers to the candidates, and what each view that is `tried` promises beside the `views`."""
        update = self._ask(self._candidates(message), client)
        kept, more = (self._of(client, message.parameters[part]) for part in ("views", "tried"))
        slopes = self._head.candidate_gradients(
            message.parameters["readout"], kept.swapaxes(0, 1), more, client.train.labels
        )
        return replace(update, payload={"slopes": slopes.astype(np.float32)})

    def sums(self, message: Message, client: Client) -> Sums:
        """What the head's fit wants to know of the answers to the `views`."""
        views = tuple(message.parameters["views"])
        if client.id not in self._ready or self._ready[client.id][0] != views:
            scores = self._of(client, message.parameters["views"]).swapaxes(0, 1)  # (N, V, C)
            self._ready[client.id] = views, self._head.fit_data(scores, client.train.labels)
        statistics = self._head.statistics(message.parameters["readout"], self._ready[client.id][1])
        return Sums(statistics.astype(np.float32))

    def keep(self, message: Message, client: Client) -> Sums:
        """Forgets all answers but those to the `views`."""
        self._answers[client.id] = self._of(client, message.parameters["views"])
        del self._ready[client.id]  # the views have other numbers now
        return Sums(np.zeros(0, np.float32))

    def blank(self, work: Callable[..., Reply], message: Message) -> Reply:
        """See `Algorithm`."""
        if work == self.score:
            return blank_score(self._objective, message.parameters)
        if work == self.keep:
            return Sums(np.zeros(0, np.float32))
        if work == self.begin:
            return Update("", {}, 0, math.nan, Usage())
        parts, inputs = message.parameters, len(self._objective.backend.info.classes)
        scores = np.zeros((0, len(parts["views"]), inputs), np.float32)
        if work == self.sums:
            return blank_sums(self._head, parts["readout"], scores)
        more = np.zeros((len(parts["tried"]), 0, inputs), np.float32)
        slopes = self._head.candidate_gradients(parts["readout"], scores, more, np.zeros(0, np.int64))
        return Update("", {"slopes": np.full_like(slopes, np.nan, np.float32)}, 0, math.nan, Usage())

    def score(self, split: str, message: Message, client: Client) -> Score:
        """One pass over the client's split, `views` queries an example."""
        return score(self._objective, message.parameters, client.id, getattr(client, split))

    def plan(self, client: Client, round_: int) -> Usage:
        """See `Algorithm`."""
        examples = len(client.train)
        population = self._make_optimizer(OptimizerStart(self._start(), np.random.default_rng(0))).population_size
        first = self._objective.usage(1, examples) if round_ == 1 else Usage()
        return first + self._objective.usage(population, examples)

    def views(self, round_: int) -> int:
        """One more a round, until there are all."""
        return min(1 + round_, self._views)

    def _start(self) -> Float32:
        return self._objective.prompt.init(np.random.default_rng(self._seed))

    def _slot(self, message: Message) -> int:
        """Where the round's view goes: behind the others, or to where one is given up."""
        views = len(self._objective.views(message.parameters["prompt"]))
        return views if views < self._views else (message.round - 1) % views

    def _candidates(self, message: Message) -> NDArray[np.float64]:
        """(n, d), the same for all clients: around the prompt's start, or around the view that may go."""
        views, slot = self._objective.views(message.parameters["prompt"]), self._slot(message)
        turns = max(0, message.round - self._views) // self._views + 1 if slot < len(views) else 0
        rng = np.random.default_rng([message.seed, message.round])
        start = views[slot] if slot < len(views) else self._start()
        return self._make_optimizer(OptimizerStart(start, rng, turns)).ask()

    def _ask(self, prompts: Floats, client: Client) -> Update:
        """Asks about all of the client's training inputs and keeps the answers behind those it has."""
        objective, meter = metered(self._objective)
        scores = objective.answers(prompts, client.train.batch(slice(None)))[:, :, 0]  # (n, N, C)
        self._answers[client.id] = np.concatenate([self._answers.get(client.id, scores[:0]), scores])
        return Update(client.id, {}, len(client.train), float("nan"), meter.usage)

    def _of(self, client: Client, views: Floats) -> Float32:
        return self._answers[client.id][views.astype(np.int64)]


def _with(message: Message, **parts: object) -> Message:
    """A message of the same round that says this."""
    return replace(message, parameters={name: np.asarray(values, np.float32) for name, values in parts.items()})
