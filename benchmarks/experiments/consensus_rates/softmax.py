"""A softmax regression by the algorithm `gossip` itself: the linear readout of a toy model's answers, without a prompt.

Nodes differ by their classes (Dirichlet). Gradients are exact, and steps stay as long as they are, so that the nodes'
mean settles near the minimum, and not in it. f is the mean of the nodes' losses (nats, with the readout's decay).
"""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from fedbbpt.algorithms.gossip import Gossip
from fedbbpt.algorithms.own_parameters import CURRENT
from fedbbpt.data import TaskData
from fedbbpt.data.partition import PartitionScheme, partition_clients
from fedbbpt.engines import TUNED
from fedbbpt.prompts.none import NoPrompt
from fedbbpt.readouts import ReadoutData
from fedbbpt.readouts.linear import LinearReadout
from fedbbpt.testing.simulation import simulate
from fedbbpt.testing.toy import Toy, ToyBackend, toy_data
from fedbbpt.types import Floats
from fedbbpt_benchmarks.experiments.consensus_rates.curves import LOCAL_STEPS, NODES, Curve, Point, Way

Array = NDArray[np.float64]
ROUNDS = 60
EXAMPLES = 96  # of each class, at all nodes together
ALPHA = 0.3
DECAY = 0.05  # the readout's `l2`, which makes f strongly convex
LR = 0.25  # `readout_lr`
RHO = 0.05  # that of the presets
EQUAL = (1.0,) * NODES


class Regression(NamedTuple):
    """The mean of all nodes' losses."""

    toy: Toy
    readout: LinearReadout
    nodes: Sequence[ReadoutData]

    def loss(self, w: Floats, weights: Sequence[float] = EQUAL) -> tuple[float, Array]:
        """f (nats) and its gradient (m,), where nodes have these weights (n,)."""
        losses, gradients = zip(*(self.readout.loss(w, data) for data in self.nodes), strict=True)
        return float(np.average(losses, weights=weights)), np.average(gradients, 0, weights)

    def minimum(self, weights: Sequence[float] = EQUAL) -> Array:
        """Where `loss` is least (m,), to a gradient of 10⁻⁸ in each coordinate."""
        start = self.readout.init(1).astype(np.float64)
        found: Array = minimize(self.loss, start, (weights,), "BFGS", jac=True, options={"gtol": 1e-8}).x
        return found

    def bias_of_unequal_steps(self) -> float:
        """How far f (nats) is above its minimum where the nodes' steps add up to nothing, however short they are.

        A node's step is `readout_lr` over a bound of its own curvature, so that nodes of flat losses weigh more.
        """
        steps = [1 / self.readout.curvature(data, 1) for data in self.nodes]
        return self.loss(self.minimum(steps))[0] - self.loss(self.minimum())[0]


def regression() -> Regression:
    """The problem of all runs."""
    backend, pool = ToyBackend(), toy_data(6 * EXAMPLES)
    readout = LinearReadout(backend.info, backend.info.classes, l2=DECAY)
    clients = partition_clients(
        TaskData(pool, pool),
        scheme=PartitionScheme("dirichlet", dirichlet_alpha=ALPHA),
        shots_per_class=EXAMPLES,
        validation_shots_per_class=NODES,
        seed=0,
        clients=NODES,
    )
    toy = Toy(backend, NoPrompt(backend.info.input_size), readout, clients=clients)
    nodes = []
    for client in clients:
        scores = toy.objective.answers(np.zeros((1, 0)), client.train.batch(slice(None)))[0]
        nodes.append(readout.fit_data(scores, client.train.labels))
    return Regression(toy, readout, nodes)


def curve(way: Way, rounds: int = ROUNDS) -> Curve:
    """A run of `gossip`, after each round."""
    problem = regression()
    make = partial(
        Gossip,
        topology=way.topology,
        gossip_steps=way.gossip_steps,
        readout_steps=LOCAL_STEPS,
        readout_lr=LR,
        rho=RHO * way.sharpness_aware,
    )
    one, minimum = simulate(make, problem.toy), problem.minimum()
    least, state = problem.loss(minimum)[0], one.algorithm.init()
    points, gradient, mean = [], 0.0, state.parameters["readout"].astype(np.float64)
    for round_ in range(1, rounds + 1):
        before = problem.loss(mean)[1]
        gradient += float(before @ before)
        state, _ = one.round(state)
        own = np.stack([memory.arrays[f"{TUNED}/{CURRENT}parameters/readout"] for memory in one.memories.values()])
        mean = own.mean(0, np.float64)
        away = float(((mean - minimum) ** 2).sum())
        apart = float(np.sqrt(((own - mean) ** 2).sum(1).mean()))
        points.append(Point(round_, gradient / round_, problem.loss(mean)[0] - least, away, apart))
    return Curve("softmax", way, points)
