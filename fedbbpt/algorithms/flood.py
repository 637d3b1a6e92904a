"""No server, and exact consensus: what each node says is passed on to all, and every node plays the server.

A zero-order update is a seed and a few losses, whatever the dimension, so that all nodes can have those of all others
(SeedFlood: arXiv 2602.18181).
"""

from pydantic import PositiveInt

from fedbbpt.algorithms import AlgorithmContext
from fedbbpt.algorithms.fedavg import FedAvg
from fedbbpt.errors import ConfigError
from fedbbpt.topology import make
from fedbbpt.topology.flooding import crossings
from fedbbpt.types import Int64


class Flood(FedAvg):
    """`fedavg` without a server, to the same bits: replies are flooded, and each node computes what the server would.

    A node sends its losses, its sums for the readout's fit and its scores to its neighbours, and they pass on what is
    new to them. After as many hops as the graph is wide, all nodes have all of it. The server's half of `fedavg` is a
    function of that and of the seed alone, so that all nodes come to the same parameters, bit for bit, whatever the
    topology; it decides only how many bytes that takes. Nobody sends messages, since everybody knows them.

    A simulation runs the server's half once, for all nodes, and counts what crosses the links.

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
        super().__init__(context, local_steps=local_steps, batch_size=batch_size, calibrate=calibrate)
        self.topology = make(topology, context.clients, context.seed)
        if self.topology.period != 1:
            raise ConfigError(
                f"algorithm 'flood' needs links that stay the same, and those of {topology!r} change; "
                "use another topology, such as ring, exponential or random-regular:4"
            )
        self._crossings = crossings(self.topology.graph(0))

    @property
    def crossings(self) -> Int64:
        """See `Algorithm`."""
        return self._crossings
