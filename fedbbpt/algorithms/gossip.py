"""No server: each node takes local steps, and then averages with its neighbours.

DFedAvg and DFedAvgM (Sun et al. 2023, IEEE TPAMI 45(4), arXiv 2104.11375); DFedSAM and DFedSAM-MGS (Shi et al.
2023, ICML, arXiv 2302.04083); see `Gossip`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
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
from fedbbpt.algorithms.local import CURRENT, Local, store
from fedbbpt.algorithms.local_steps import stored_fit_data
from fedbbpt.algorithms.loss_broadcast import names_of, packed_names
from fedbbpt.algorithms.readout_steps import ReadoutSteps
from fedbbpt.errors import ConfigError
from fedbbpt.readouts.linear import LinearReadout
from fedbbpt.topology import make
from fedbbpt.topology.mixing import Matrix
from fedbbpt.types import Floats, Message, Score, Update, Usage

MIXED = ("prompt", "readout")  # parameters that neighbours average
WEIGHTS = "weights"  # name in a message: the node's own weight, then its neighbours'
NAMES = "names"  # in the state: the nodes' names, in the order of their numbers
Letters = Mapping[str, Update]  # the parameters of each node that is present


class Gossip(Local):
    """Local steps, then `gossip_steps` rounds of averaging with the neighbours; there is no server.

    A round at node i: zero-order steps on the prompt, as in `fedavg`, and `readout_steps` gradient steps on the linear
    readout, whose gradient is exact and costs no query. Then, Q = `gossip_steps` times, xᵢ ← Σⱼ Wᵢⱼ xⱼ over the node's
    neighbours j, with a doubly stochastic W (`topology.Topology.mixing`). Nodes whose letters are missing are left out,
    and the others share their weights anew. All nodes count alike, however many examples they have.

    With `rho` 0 it is DFedAvg; with momentum, DFedAvgM; with `rho`, DFedSAM, whose gradients are those at
    x + ρ ∇F / ‖∇F‖; with several gossip steps, DFedSAM-MGS. For the prompt, the optimizer `zo-sam` does the same.

    In a simulation, one process calls the nodes in turn, and passes on what neighbours write to each other. It also
    computes the mean of all nodes, which no node sees; that is the run's result beside the nodes' own parameters.

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
        own: Mapping[str, Handler] = {"gossip": self._gossip, "evaluate_mean": self._evaluate_mean}
        return {**super().handlers, **own, "catch_up": self._catch_up}

    def broadcast(self, state: ServerState) -> Message:
        """The round alone: all nodes know the start from the seed."""
        return Message(state.round + 1, self._seed, {})

    def catch_up(self, state: ServerState) -> Message:
        """What a node that has lost its own parameters is told in their place: in a simulation, the mean of all."""
        return self._full(state)

    def round(self, state: ServerState, send: Send) -> tuple[ServerState, RoundReport]:
        """Local steps, and then the nodes' letters from neighbour to neighbour; the state has the mean of all nodes."""
        message = self.broadcast(state)
        updates = send("train", message)
        letters = _by_client(send("gossip", {update.client: message for update in updates}))
        names = _names(state, letters)
        for step in range(self.gossip_steps):
            here = [names.index(client) for client in letters]
            mixing = self.topology.mixing(state.round * self.gossip_steps + step, here)
            letters = _by_client(send("gossip", {to: _mail(message, mixing, names, to, letters) for to in letters}))
        every = {part: np.stack([letter.payload[part] for letter in letters.values()]) for part in MIXED}
        mean = {part: values.mean(0, np.float64).astype(np.float32) for part, values in every.items()}
        apart = sum(float(((values - mean[part]) ** 2).sum(1).mean()) for part, values in every.items())
        new = ServerState(state.round + 1, {**state.parameters, **mean}, {NAMES: packed_names(names)})
        return new, RoundReport(mean_loss(updates), consensus_distance=math.sqrt(apart))

    def template(self, handler: str, message: Message) -> ClientReply:
        """See `Algorithm`."""
        if handler in ("evaluate", "evaluate_mean"):
            return empty_score(self.model, self.init().parameters)
        start = self.init().parameters
        payload = {part: start[part] for part in MIXED} if handler == "gossip" else {}
        return Update("", payload, 0, math.nan, Usage())

    def most_exchanges(self, round_: int) -> int:
        """The local steps, the first letters, and those after each gossip step."""
        return 2 + self.gossip_steps

    def _gossip(self, message: Message, ctx: ClientContext) -> Update:
        """Averages what the neighbours wrote with the node's own; replies with the next letter to them."""
        own = self._own(message, ctx)
        if WEIGHTS in message.parameters:
            weights = message.parameters[WEIGHTS].astype(np.float64)
            parts = {part: [own.parameters[part][None], message.parameters[part]] for part in MIXED}
            mixed = {part: weights @ np.concatenate(values) for part, values in parts.items()}
            parameters = {part: values.astype(np.float32) for part, values in mixed.items()}
            own = replace(own, parameters={**own.parameters, **parameters}, round=message.round)
            store(ctx, CURRENT, own)
        payload = {part: own.parameters[part] for part in MIXED}
        return Update(ctx.id, payload, len(ctx.data.train), math.nan, Usage())

    def _evaluate_mean(self, message: Message, ctx: ClientContext) -> Score:
        return evaluate(ctx, message.parameters, message)

    def _fitted(self, weights: Floats, ctx: ClientContext) -> Floats:
        """The readout after a round's gradient steps on the answers that the local steps have brought."""
        return self._steps.taken(weights, stored_fit_data(ctx))

    def _catch_up(self, message: Message, ctx: ClientContext) -> Update:
        ctx.state.clear()
        store(ctx, CURRENT, ServerState(message.round - 1, message.parameters))
        return Update(ctx.id, {}, len(ctx.data.train), math.nan, Usage())

    def _start(self, message: Message) -> ServerState:
        """What a node without parameters begins with.

        Raises:
            OutOfDateError: it should have some.
        """
        if message.round > 1:
            raise OutOfDateError
        return self.init()


def _by_client(letters: Sequence[Update]) -> Letters:
    return {letter.client: letter for letter in letters}


def _mail(message: Message, mixing: Matrix, names: Sequence[str], to: str, letters: Letters) -> Message:
    """What a node gets from its neighbours: their letters, and the weights of its own and theirs."""
    row = mixing[[names.index(to)]].tocoo()
    weights = dict(zip((names[column] for column in row.coords[1]), row.data, strict=True))
    theirs = [name for name in weights if name != to and weights[name] > 0]
    parts = {part: np.stack([letters[name].payload[part] for name in (to, *theirs)])[1:] for part in MIXED}
    return message.having(**parts, **{WEIGHTS: [weights.get(to, 0.0), *(weights[name] for name in theirs)]})


def _names(state: ServerState, letters: Letters) -> list[str]:
    """The nodes' names by number, in the order in which they first wrote."""
    known = names_of(state.opt_state.get(NAMES, packed_names([])))
    return known + [name for name in letters if name not in known]
