"""No server: after a round's training, each node averages its parameters with its neighbours'."""

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedbbpt.algorithms import (
    AlgorithmContext,
    ClientContext,
    ClientReply,
    Handler,
    OutOfDateError,
    RoundReport,
    Send,
    ServerState,
)
from fedbbpt.algorithms.calibration import mean_loss
from fedbbpt.algorithms.compression import Compressor, form, make_compressor
from fedbbpt.algorithms.letters import (
    COMPRESSED,
    LETTER,
    NAMES,
    WEIGHTS,
    asking,
    exchange_of,
    in_exchange,
    lost_links,
    numbered,
    row_of,
    senders_of,
    weighing,
)
from fedbbpt.algorithms.loss_broadcast import names_of, packed_names
from fedbbpt.algorithms.own_parameters import CURRENT, OwnParameters, says, store
from fedbbpt.algorithms.public_copies import PublicCopies
from fedbbpt.algorithms.sketch import WIDTH, distance_to_mean, sketch
from fedbbpt.errors import ConfigError
from fedbbpt.topology import Topology, make
from fedbbpt.types import Float32, Message, Parameters, Score, Update, Usage

SKETCH = "sketch"  # of a node's parameters, in a reply
IN_STEP = "in_step"  # in the state: the names of the nodes whose public copies are in step


class NeighbourAveraging(OwnParameters):
    """The part of an algorithm in which neighbours average: to be combined with one whose clients train.

    Q = `gossip_steps` times a round, xᵢ ← Σⱼ Wᵢⱼ xⱼ over the node's neighbours j, with a doubly stochastic W
    (`topology.Topology.mixing`). Nodes whose letters are missing are left out, and the others share their weights anew.
    All nodes count alike, however many examples they have.

    With a compressor C, letters say the most of what has changed, and nodes average what is publicly known
    (CHOCO-Gossip; `public_copies`): xᵢ ← xᵢ + γ Σⱼ Wᵢⱼ (x̂ⱼ − x̂ᵢ), with x̂ᵢ ← x̂ᵢ + C(xᵢ − x̂ᵢ) at i and at its
    neighbours. The mean of all nodes stays, since both ends of a link know the same. To be sure of that, all letters of
    an exchange say all, as without a compressor, if somebody takes part who did not in the exchange before, or if a
    letter was lost there.

    The server's half only keeps time: it says when a step begins and whose letters a node takes, and hears losses,
    scores, and sketches of the parameters (`sketch`), which say how far the nodes are apart. It never sees a letter.
    When the rounds are over, each node reveals its parameters once: their mean is the run's result, beside the nodes'
    own.

    Attributes:
        topology: the links.
        gossip_steps: Q.
        compression: the compressor's name.
    """

    shares_parameters = True
    has_server = False
    is_decentralised = True

    topology: Topology
    gossip_steps: int
    compression: str
    _mixed: Sequence[str]  # the parts that neighbours average
    _compressor: Compressor | None
    _seed: int

    @abstractmethod
    def _empty_score(self) -> Score:
        """The score of a node without data."""

    def _average_over(
        self,
        context: AlgorithmContext,
        topology: str,
        gossip_steps: int,
        compression: str,
        consensus_step: float | None,
    ) -> None:
        """Sets how neighbours average; to be called by constructors, whose options these are.

        Raises:
            ConfigError: no such topology or compressor, or they do not go together.
        """
        self.topology, self.gossip_steps = make(topology, context.clients, context.seed), gossip_steps
        self.compression, self._compressor = compression, make_compressor(compression, consensus_step)
        if self._compressor is not None and self.topology.period != 1:
            raise ConfigError(
                f"compression {compression!r} builds on what neighbours knew of each other before, and the links of "
                f"topology {topology!r} change; take another topology, or compression none"
            )

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """See `Algorithm`; all but "train"."""
        return {
            "evaluate": self._evaluate_own,
            "select": self._select,
            LETTER: self._letter,
            "mix": self._mix,
            "catch_up": self._catch_up,
            "reveal": self._reveal,
            "evaluate_mean": self._evaluate_mean,
        }

    def broadcast(self, state: ServerState) -> Message:
        """The round alone: all nodes know the start from the seed, and what follows is their own."""
        return Message(state.round + 1, self._seed, {})

    def neighbours(self, state: ServerState, clients: Sequence[str]) -> Mapping[str, Sequence[str]]:
        """See `Algorithm`."""
        names = numbered(state, clients)
        mixing = self.topology.mixing(state.round * self.gossip_steps, [names.index(client) for client in clients])
        return {client: [names[i] for i in row_of(mixing, names.index(client))[0]] for client in clients}

    def round(self, state: ServerState, send: Send) -> tuple[ServerState, RoundReport]:
        """Local steps, and then letters from neighbour to neighbour, which the server's half does not see."""
        message = self.broadcast(state)
        updates = send("train", message)
        names, mixed = numbered(state, [update.client for update in updates]), updates
        number = {name: i for i, name in enumerate(names)}
        in_step = set(names_of(state.opt_state.get(IN_STEP, packed_names([]))))
        for step in range(self.gossip_steps):
            present = [one.client for one in mixed]
            there, exchange = [number[client] for client in present], state.round * self.gossip_steps + step
            mixing = partial(self.topology.mixing, exchange, there)
            if self._compressor is not None:
                message = in_exchange(message, exchange, compressed=in_step.issuperset(present))
            senders = {client: [names[i] for i in row_of(mixing(), number[client])[0]] for client in present}
            asked = {client: asking(message, theirs) for client, theirs in senders.items()}
            missing = {one.client: one.missing for one in send(LETTER, asked)}
            lost = [(number[to], number[sender]) for to, sender in lost_links(senders, missing)]
            weights = {client: row_of(mixing(lost), number[client]) for client in missing}
            weighed = {to: weighing(message, w, [names[i] for i in row]) for to, (row, w) in weights.items()}
            mixed = send("mix", weighed)
            in_step = {one.client for one in mixed} if self._compressor and not lost else set()
        apart = distance_to_mean([one.payload[SKETCH] for one in mixed])
        known = {NAMES: packed_names(names)} | ({IN_STEP: packed_names(sorted(in_step))} if in_step else {})
        new = ServerState(state.round + 1, state.parameters, known)
        return new, RoundReport(mean_loss(updates), consensus_distance=apart)

    def result(self, state: ServerState, send: Send) -> Parameters:
        """The mean of all nodes' parameters of the state's round, which each node sends once."""
        own = send("reveal", self.broadcast(state))
        return {**state.parameters, **self._mean([one.payload for one in own])}

    def template(self, handler: str, message: Message) -> ClientReply:
        """See `Algorithm`."""
        if handler in ("evaluate", "evaluate_mean"):
            return self._empty_score()
        payload: Mapping[str, NDArray[Any]] = {}
        if handler == "mix":
            payload = {SKETCH: np.zeros(WIDTH, np.float32)}
        elif handler in (LETTER, "reveal"):
            payload, compressor = self._parts(self.init()), self._compressor_of(message)
            payload = payload if compressor is None else form(payload, compressor)
        return Update("", payload, 0, math.nan, Usage())

    def most_exchanges(self, round_: int) -> int:
        """The local steps; in each gossip step, the letters and their mean."""
        return 1 + 2 * self.gossip_steps

    def _letter(self, message: Message, ctx: ClientContext) -> Update:
        own, compressor = self._parts(self._own(message, ctx)), self._compressor_of(message)
        if compressor is None:
            return says(ctx, own)
        return says(ctx, PublicCopies.of(ctx, exchange_of(message) - 1).letter(own, compressor))

    def _mix(self, message: Message, ctx: ClientContext) -> Update:
        """Averages the node's own parameters with its neighbours'."""
        own, every, theirs = self._own(message, ctx), ctx.letters, senders_of(message)
        if not every.keys() >= set(theirs):
            raise OutOfDateError
        parts, letters = self._parts(own), {name: every[name] for name in theirs}
        weights, compressor = message.parameters[WEIGHTS], self._compressor_of(message)
        if compressor is None or not theirs:
            public = PublicCopies.said(parts, letters)
            mixed = public.average(weights)
        else:
            public = PublicCopies.of(ctx, exchange_of(message) - 1).after(parts, letters, compressor)
            mixed = public.moved(parts, weights, compressor.consensus_step)
        if self._compressor is not None:
            public.store(ctx, exchange_of(message))
        self._store(own, mixed, message, ctx)
        ctx.memory.take_letters({})
        return says(ctx, {SKETCH: sketch(np.concatenate([mixed[part] for part in self._mixed]), self._seed)})

    def _catch_up(self, message: Message, ctx: ClientContext) -> Update:
        """Begins with the mean of what the neighbours have; where there is none, from the start."""
        own, letters = self.init(), list(ctx.letters.values())
        ctx.memory.take_letters({})
        ctx.state.clear()
        self._store(own, self._mean(letters) if letters else {}, message, ctx)
        return says(ctx, {})

    def _reveal(self, message: Message, ctx: ClientContext) -> Update:
        return says(ctx, self._parts(self._of_round(message, ctx)))

    def _evaluate_mean(self, message: Message, ctx: ClientContext) -> Score:
        return self._score(message.parameters, message, ctx)

    def _first(self, message: Message) -> ServerState:
        """What a node without parameters begins with.

        Raises:
            OutOfDateError: it should have some.
        """
        if message.round > 1:
            raise OutOfDateError
        return self.init()

    def _compressor_of(self, message: Message) -> Compressor | None:
        """What compresses the letters of a message's exchange; None if they say all."""
        return self._compressor if COMPRESSED in message.parameters else None

    def _parts(self, own: ServerState) -> dict[str, Float32]:
        return {part: own.parameters[part] for part in self._mixed}

    def _mean(self, every: Sequence[Parameters]) -> Parameters:
        stacked = {part: np.stack([one[part] for one in every]) for part in self._mixed}
        return {part: values.mean(0, np.float64).astype(np.float32) for part, values in stacked.items()}

    @staticmethod
    def _store(own: ServerState, parts: Parameters, message: Message, ctx: ClientContext) -> None:
        store(ctx, CURRENT, replace(own, parameters={**own.parameters, **parts}, round=message.round))
