"""Strongly convex quadratics, one at each node, with noisy gradients; their mean has a known minimum.

Each number of rounds T has a run of its own: its steps are 1 / (L √(K T)), and SAM's ρ is `RHO` / √T, so that both
become smaller with T, as in the theorem. All topologies have the same noise.
"""

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fedbbpt.topology import make
from fedbbpt_benchmarks.experiments.consensus_rates.curves import LOCAL_STEPS, NODES, Curve, Point, Way

Array = NDArray[np.float64]
ROUNDS = (16, 64, 256, 1024, 4096)
DIM = 10
FLATTEST, STEEPEST = 0.1, 1.0  # curvatures of each node's quadratic; the latter is L
CENTRE = 2.0  # of the nodes' own minima, in each coordinate; they have the standard deviation 1
NOISE = 0.5  # root mean square length of a gradient's noise
RHO = 0.5  # √T ρ
REPEATS = 4  # of a run, with other noise


class Quadratics:
    """f_i(x) = ½ (x − b_i)ᵀ A_i (x − b_i) for node i: all A_i have the same eigenvalues, in directions of their own."""

    def __init__(self, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        axes = np.linalg.qr(rng.normal(size=(NODES, DIM, DIM)))[0]
        self.curvatures = axes * np.geomspace(FLATTEST, STEEPEST, DIM) @ axes.mT  # (nodes, d, d)
        self.minima = CENTRE + rng.normal(size=(NODES, DIM))

    @cached_property
    def curvature(self) -> Array:
        """Of the mean f (d, d)."""
        mean: Array = self.curvatures.mean(0)
        return mean

    @cached_property
    def minimum(self) -> Array:
        """x* (d,) of the mean f."""
        found: Array = np.linalg.solve(self.curvature, np.einsum("nij,nj->i", self.curvatures, self.minima) / NODES)
        return found

    def gradients(self, x: Array) -> Array:
        """Of each node's f at its own x (…, nodes, d)."""
        found: Array = (self.curvatures @ (x - self.minima)[..., None])[..., 0]
        return found


def curve(way: Way) -> Curve:
    """All runs of a way."""
    return Curve("quadratic", way, [run(way, rounds) for rounds in ROUNDS])


def run(way: Way, rounds: int) -> Point:
    """Rounds of K local steps and Q averagings, from 0; means over all repeats."""
    problem, rng = Quadratics(), np.random.default_rng(0)
    mixing = np.linalg.matrix_power(make(way.topology, NODES).mixing(0).toarray(), way.gossip_steps)
    step, rho = 1 / (STEEPEST * np.sqrt(LOCAL_STEPS * rounds)), RHO / np.sqrt(rounds) * way.sharpness_aware
    x, gradient = np.zeros((REPEATS, NODES, DIM)), 0.0
    for _ in range(rounds):
        gradient += square((x.mean(1) - problem.minimum) @ problem.curvature) / rounds
        for noise in NOISE / np.sqrt(DIM) * rng.normal(size=(LOCAL_STEPS, *x.shape)):
            slope = problem.gradients(x) + noise
            if rho:
                uphill = rho * slope / np.linalg.norm(slope, axis=-1, keepdims=True)
                slope = problem.gradients(x + uphill) + noise  # the same minibatch
            x = x - step * slope
        x = mixing @ x
    mean = x.mean(1)
    away = mean - problem.minimum
    excess = float(np.mean(np.einsum("si,ij,sj->s", away, problem.curvature, away))) / 2
    return Point(rounds, gradient, excess, square(away), float(np.sqrt(square(x - mean[:, None]))))


def square(vectors: Array) -> float:
    """The mean squared length of vectors (…, d)."""
    return float((vectors**2).sum(-1).mean())
