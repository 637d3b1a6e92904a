"""No server: each node takes local steps, and then averages with its neighbours.

DFedAvg and DFedAvgM (Sun et al. 2023, IEEE TPAMI 45(4), arXiv 2104.11375); DFedSAM and DFedSAM-MGS (Shi et al.
2023, ICML, arXiv 2302.04083); see `Gossip`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Annotated

import numpy as np
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

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
from fedbbpt.algorithms.evaluation import empty_score, evaluate
from fedbbpt.algorithms.letters import LETTER, NAMES, WEIGHTS, asking, numbered, row_of, senders_of, weighing
from fedbbpt.algorithms.local import CURRENT, Local, store
from fedbbpt.algorithms.local_steps import stored_fit_data
from fedbbpt.algorithms.loss_broadcast import packed_names
from fedbbpt.algorithms.readout_steps import ReadoutSteps
from fedbbpt.algorithms.sketch import WIDTH, distance_to_mean, sketch
from fedbbpt.errors import ConfigError
from fedbbpt.readouts.linear import LinearReadout
from fedbbpt.topology import make
from fedbbpt.types import Floats, Message, Parameters, Score, Update, Usage

MIXED = ("prompt", "readout")  # parameters that neighbours average
SKETCH = "sketch"  # of a node's parameters, in a reply


class Gossip(Local):
    """Local steps, then `gossip_steps` rounds of averaging with the neighbours; there is no server.

    A round at node i: zero-order steps on the prompt, as in `fedavg`, and `readout_steps` gradient steps on the linear
    readout, whose gradient is exact and costs no query. Then, Q = `gossip_steps` times, xᵢ ← Σⱼ Wᵢⱼ xⱼ over the node's
    neighbours j, with a doubly stochastic W (`topology.Topology.mixing`). Nodes whose letters are missing are left out,
    and the others share their weights anew. All nodes count alike, however many examples they have.

    With `rho` 0 it is DFedAvg; with momentum, DFedAvgM; with `rho`, DFedSAM, whose gradients are those at
    x + ρ ∇F / ‖∇F‖; with several gossip steps, DFedSAM-MGS. For the prompt, the optimizer `zo-sam` does the same.

    The server's half only keeps time: it says when a step begins and whose letters a node takes, and hears losses,
    scores, and sketches of the parameters (`sketch`), which say how far the nodes are apart. It never sees a letter.
    When the rounds are over, each node reveals its parameters once: their mean is the run's result, beside the nodes'
    own.

    Args:
        context: the model, the optimizer and the seed.
        topology: ring, torus, exponential, star, complete, random-regular:K (links), erdos-renyi:P (probability), or
            file:PATH (two nodes in a line); matching and one-peer-exponential change from round to round.
        gossip_steps: Q, times that neighbours average in a round.
        local_steps: zero-order steps per node and round.
        batch_size: as in `fedavg`.
        readout_steps: gradient steps on the readout per node and round, on all answers of the round.
        readout_lr: their step size.
        momentum: of the readout's steps, begun anew in each round; the prompt's is its optimizer's.
        rho: ρ, the radius of sharpness-aware steps on the readout.
        calibrate: as in `fedavg`, at each node by itself.
    """

    shares_parameters = True
    has_server = False
    is_decentralised = True

    def __init__(
        self,
        context: AlgorithmContext,
        /,
        *,
        topology: str = "exponential",
        gossip_steps: PositiveInt = 1,
        local_steps: PositiveInt = 1,
        batch_size: PositiveInt | None = None,
        readout_steps: PositiveInt = 10,
        readout_lr: PositiveFloat = 1.0,
        momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0,
        rho: NonNegativeFloat = 0.0,
        calibrate: bool = True,
    ) -> None:
        alone = replace(context, clients=1)  # each node has an optimizer of its own
        super().__init__(alone, local_steps=local_steps, batch_size=batch_size, calibrate=calibrate)
        readout = self.model.readout
        if readout.trainable and not isinstance(readout, LinearReadout):
            raise ConfigError("algorithm 'gossip' trains a linear readout, or none: use --readout linear or identity")
        self.topology, self.gossip_steps = make(topology, context.clients, context.seed), gossip_steps
        self._steps = ReadoutSteps(readout, readout_steps, readout_lr, momentum, rho)

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """See `Algorithm`."""
        return {
            **super().handlers,
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
        for step in range(self.gossip_steps):
            mixing = partial(
                self.topology.mixing, state.round * self.gossip_steps + step, [number[one.client] for one in mixed]
            )
            rows = {one.client: row_of(mixing(), number[one.client])[0] for one in mixed}
            asked = {client: asking(message, [names[i] for i in row]) for client, row in rows.items()}
            received = {one.client: one.missing for one in send(LETTER, asked)}
            gone = rows.keys() - received.keys()
            lost = [
                (number[client], i)
                for client, row in rows.items()
                for i in row
                if client in gone or names[i] in gone or names[i] in received[client]
            ]
            weights = {client: row_of(mixing(lost), number[client]) for client in received}
            weighed = {to: weighing(message, w, [names[i] for i in row]) for to, (row, w) in weights.items()}
            mixed = send("mix", weighed)
        apart = distance_to_mean([one.payload[SKETCH] for one in mixed])
        new = ServerState(state.round + 1, state.parameters, {NAMES: packed_names(names)})
        return new, RoundReport(mean_loss(updates), consensus_distance=apart)

    def result(self, state: ServerState, send: Send) -> Parameters:
        """The mean of all nodes' parameters of the state's round, which each node sends once."""
        own = send("reveal", self.broadcast(state))
        return {**state.parameters, **_mean([one.payload for one in own])}

    def template(self, handler: str, message: Message) -> ClientReply:
        """See `Algorithm`."""
        start = self.init().parameters
        if handler in ("evaluate", "evaluate_mean"):
            return empty_score(self.model, start)
        payload = {part: start[part] for part in MIXED} if handler in (LETTER, "reveal") else {}
        payload |= {SKETCH: np.zeros(WIDTH, np.float32)} if handler == "mix" else {}
        return Update("", payload, 0, math.nan, Usage())

    def most_exchanges(self, round_: int) -> int:
        """The local steps; in each gossip step, the letters and their mean."""
        return 1 + 2 * self.gossip_steps

    def _letter(self, message: Message, ctx: ClientContext) -> Update:
        return _says(ctx, _mixed_parts(self._own(message, ctx)))

    def _mix(self, message: Message, ctx: ClientContext) -> Update:
        """Averages the node's own parameters with its neighbours'."""
        own, letters = self._own(message, ctx), ctx.letters
        theirs, weights = senders_of(message), message.parameters[WEIGHTS]
        if not letters.keys() >= set(theirs):
            raise OutOfDateError
        parts = {part: np.stack([own.parameters[part], *(letters[name][part] for name in theirs)]) for part in MIXED}
        mixed = {part: (weights @ values).astype(np.float32) for part, values in parts.items()}
        self._store(own, mixed, message, ctx)
        return _says(ctx, {SKETCH: sketch(np.concatenate([*mixed.values()]), self._seed)})

    def _catch_up(self, message: Message, ctx: ClientContext) -> Update:
        """Begins with the mean of what the neighbours have; where there is none, from the start."""
        own, letters = self.init(), list(ctx.letters.values())
        ctx.state.clear()
        self._store(own, _mean(letters) if letters else {}, message, ctx)
        return _says(ctx, {})

    def _reveal(self, message: Message, ctx: ClientContext) -> Update:
        return _says(ctx, _mixed_parts(self._of_round(message, ctx)))

    def _evaluate_mean(self, message: Message, ctx: ClientContext) -> Score:
        return evaluate(ctx, message.parameters, message)

    def _fitted(self, weights: Floats, ctx: ClientContext) -> Floats:
        """The readout after a round's gradient steps on the answers that the local steps have brought."""
        return self._steps.taken(weights, stored_fit_data(ctx))

    def _start(self, message: Message) -> ServerState:
        """What a node without parameters begins with.

        Raises:
            OutOfDateError: it should have some.
        """
        if message.round > 1:
            raise OutOfDateError
        return self.init()

    @staticmethod
    def _store(own: ServerState, parts: Parameters, message: Message, ctx: ClientContext) -> None:
        store(ctx, CURRENT, replace(own, parameters={**own.parameters, **parts}, round=message.round))


def _mixed_parts(own: ServerState) -> Parameters:
    return {part: own.parameters[part] for part in MIXED}


def _mean(every: Sequence[Parameters]) -> Parameters:
    return {part: np.stack([one[part] for one in every]).mean(0, np.float64).astype(np.float32) for part in MIXED}


def _says(ctx: ClientContext, payload: Parameters) -> Update:
    """A reply that is no training: it has no loss."""
    return Update(ctx.id, payload, len(ctx.data.train), math.nan, Usage())
