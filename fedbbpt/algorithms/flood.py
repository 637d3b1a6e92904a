"""No server, and exact consensus: what each node says is passed on to all, and every node plays the server.

A zero-order update is a seed and a few losses, whatever the dimension, so that all nodes can have those of all others
(SeedFlood: arXiv 2602.18181).
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import networkx as nx
import numpy as np
from pydantic import PositiveInt

from fedbbpt.algorithms import (
    Algorithm,
    AlgorithmContext,
    ClientReply,
    ClientSizes,
    CrossValidated,
    Handler,
    RoundReport,
    Send,
    ServerState,
)
from fedbbpt.algorithms.evaluation import empty_score
from fedbbpt.algorithms.flood_node import Node, Server, opened
from fedbbpt.algorithms.flood_round import (
    CONTENT,
    COUNTED,
    DIGEST,
    DIGESTS,
    FIGURES,
    HAS,
    NUM_FIGURES,
    REFUSED,
    STATE,
    UNUSABLE,
    FloodRound,
    between,
    neighbours_by_name,
)
from fedbbpt.algorithms.letters import LETTER, NAMES, numbered
from fedbbpt.algorithms.loss_broadcast import names_of, packed_names
from fedbbpt.errors import BackendError, ConfigError
from fedbbpt.topology import make
from fedbbpt.types import Message, Parameters, Update, Usage

SIZE = 32  # bytes of a SHA-256
NO_BYTES = np.zeros(0, np.uint8)  # in a template: any number of bytes


class Flood(Algorithm):
    """`fedavg` without a server, to the same bits: replies are flooded, and each node computes what the server would.

    A node sends its losses and its sums for the readout's fit to its neighbours, and they pass on what is new to them.
    After as many hops as the graph is wide, all nodes have all of it. The server's half of `fedavg` is a function of
    that and of the seed alone, so that all nodes come to the same parameters, bit for bit, whatever the topology; it
    decides only how many bytes that takes.

    The server's half here is a coordinator that keeps time. It calls "train", upon which each node plays the server
    until an answer is missing, and gives its own; then it has letters pass from neighbour to neighbour, hears who has
    what ("hear"), and says what counts. It sees SHA-256 digests of replies and of the state, so that nobody can change
    what another node said, and nobody goes on with other parameters than the rest; and each round's mean loss. A node
    that was away, or has lost its memory, hears from a neighbour what all have said so far, and plays it, or takes the
    state where that is shorter (`flood_history`). When the rounds are over, the best round's parameters are revealed.

    Args:
        context: the model, the optimizer and the seed.
        topology: ring, torus, exponential, star, complete, random-regular:K (links), erdos-renyi:P (probability), or
            file:PATH (two nodes in a line).
        local_steps: as in `fedavg`, as the others.
        batch_size: as in `fedavg`.
        calibrate: as in `fedavg`.
    """

    has_server = False

    def __init__(
        self,
        context: AlgorithmContext,
        /,
        *,
        topology: str = "exponential",
        local_steps: PositiveInt = 1,
        batch_size: PositiveInt | None = None,
        calibrate: bool = True,
    ) -> None:
        self._server = Server(context, local_steps=local_steps, batch_size=batch_size, calibrate=calibrate)
        self._model, self._seed = context.model, context.seed
        self.topology = make(topology, context.clients, context.seed)
        if self.topology.period != 1:
            raise ConfigError(
                f"algorithm 'flood' needs links that stay the same, and those of {topology!r} change; "
                "use another topology, such as ring, exponential or random-regular:4"
            )

    # The coordinator's half. Its parameters are the start's, then a digest of the nodes' state, at last the result's.

    def init(self) -> ServerState:
        """The start, which all nodes know from the seed."""
        return self._server.init()

    def sample(self, state: ServerState, clients: Sequence[ClientSizes]) -> list[ClientSizes]:
        """All of them."""
        return list(clients)

    def broadcast(self, state: ServerState) -> Message:
        """The round, and the digest of the state on which it builds; the result's parameters themselves, at the end."""
        return Message(state.round + 1, self._seed, state.parameters if state.round else {})

    def round(self, state: ServerState, send: Send) -> tuple[ServerState, RoundReport]:
        """Asks, has the letters pass, and asks again, until the nodes have played the round to its end."""
        message = self.broadcast(state)
        said = send("train", message)
        names = numbered(state, [one.client for one in said])
        this = FloodRound(self.topology.graph(0), names, message, send)
        end, counted = this.run(said)
        _, is_validated, *counts = map(int, end.payload[FIGURES])
        unusable = [node for node, mark in zip(counted, end.payload[UNUSABLE], strict=True) if mark]
        left_out = this.left_out | dict.fromkeys(unusable, "sent a reply that nobody can use")
        new = ServerState(state.round + 1, {STATE: end.payload[DIGEST]}, {NAMES: packed_names(names)})
        validated = CrossValidated(*counts) if is_validated else None
        return new, RoundReport(end.loss, validated, left_out=left_out, lost=this.lost)

    def result(self, state: ServerState, send: Send) -> Parameters:
        """The parameters that belong to the digest.

        Raises:
            BackendError: no node that is there has them.
        """
        if STATE not in state.parameters:
            return state.parameters
        for one in send("reveal", self.broadcast(state)):
            if (found := opened(one.payload, state.parameters[STATE])) is not None:
                return found.parameters
        raise BackendError(
            f"no node has the parameters of round {state.round}, the best; once others are back, continue with --resume"
        )

    def neighbours(self, state: ServerState, clients: Sequence[str]) -> Mapping[str, Sequence[str]]:
        """See `Algorithm`; none where the start is all that a node has to know."""
        if STATE not in state.parameters:
            return {}
        names = numbered(state, clients)
        return neighbours_by_name(between(self.topology.graph(0), names, clients), names)

    def template(self, handler: str, message: Message) -> ClientReply:
        """See `Algorithm`."""
        if handler == "evaluate":
            return empty_score(self._model, self.init().parameters)
        payload: dict[str, Any] = {}
        if handler == "train":
            marks = np.zeros(len(names_of(message.parameters.get(COUNTED, NO_BYTES))), np.uint8)
            payload = {DIGEST: np.zeros(SIZE, np.uint8), FIGURES: np.zeros(NUM_FIGURES), UNUSABLE: marks}
        elif handler == "hear":
            payload = dict.fromkeys((HAS, REFUSED), np.zeros(len(message.parameters[DIGESTS]), np.uint8))
        elif handler in (LETTER, "reveal"):
            payload = {CONTENT: NO_BYTES}
        return Update("", payload, 0, math.nan, Usage())

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """See `Algorithm`."""
        return Node(self._server).handlers

    # The cost.

    def expected_usage(self, client: ClientSizes, round_: int) -> Usage:
        """See `Algorithm`."""
        return self._server.expected_usage(client, round_)

    def most_exchanges(self, round_: int) -> int:
        """For each of `fedavg`: the question, the hops, and who has heard what; at last, the end of the round.

        Where nodes are missing or letters are lost, there may be more hops.
        """
        hops: int = nx.diameter(self.topology.graph(0))
        return self._server.most_exchanges(round_) * (2 + hops) + 1

    def parameter_counts(self, rounds: int) -> dict[str, int]:
        """See `Algorithm`."""
        return self._server.parameter_counts(rounds)
