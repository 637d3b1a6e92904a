"""Other people's searches on a box: their packages, or their method written to be read.

Each takes an open box, a budget in queries and a seed, and returns its path. Where a docstring has a grid, the setting
in the signature did best of it, for 5,000 queries on digits:affine:1 with seed 11.
"""

import warnings
from collections.abc import Callable, Mapping

import cma
import numpy as np

from fedbbpt.errors import BackendError
from fedbbpt.types import Dataset
from fedbbpt_benchmarks.experiments.box import OpenBox, Path, Theta

Peer = Callable[[OpenBox, int, int], Path]
BATCH = 128  # examples of a step, as in BlackVIP's code
UNIT = 0.1  # ε of our prompts: one unit of θ in pixel values


def pycma(box: OpenBox, budget: int, seed: int, sigma: float = 2.0, population_size: int = 10) -> Path:
    """CMA-ES of the package `cma` on all training examples of all clients, as BBT uses it; nothing was tuned."""
    cost, spent, path = len(box.everything), 0, [(0, box.start)]
    options = {"popsize": population_size, "seed": seed + 1, "verbose": -9}
    search = cma.CMAEvolutionStrategy(box.start, sigma, options)
    while spent + population_size * cost <= budget:
        candidates = search.ask()
        search.tell(candidates, [box.loss(candidate) for candidate in candidates])
        spent += population_size * cost
        path.append((spent, np.array(search.mean)))
    return path


def dfo_ls(box: OpenBox, budget: int, seed: int, radius: float = 3.0) -> Path:
    """DFO-LS (Cartis et al. 2019, ACM TOMS 45(3)) of its package, on the roots of all examples' losses.

    Grid: radius 0.3, 1, 3.

    Raises:
        BackendError: the package is not installed.
    """
    try:
        import dfols
    except ImportError as e:
        raise BackendError("the peer dfo-ls needs the package DFO-LS: pip install DFO-LS") from e
    cost, path, best = len(box.everything), [(0, box.start)], np.inf

    def residuals(theta: Theta) -> Theta:
        nonlocal best
        losses = box.losses(theta, box.everything)
        if losses.mean() < best:
            best = losses.mean()
            path.append((calls[0] + cost, theta.copy()))
        calls[0] += cost
        roots: Theta = np.sqrt(losses)
        return roots

    calls = [0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dfols.solve(residuals, box.start, rhobeg=radius, maxfun=budget // cost, scaling_within_bounds=False)
    return path


def blackvip(box: OpenBox, budget: int, seed: int, a: float = 0.005, c: float = 0.1, directions: int = 1) -> Path:
    """SPSA-GC as in BlackVIP's code, each client with its own momentum; θ is averaged after each step (FedAvg).

    a and c are those of weights in their own units, of which a unit of θ is `UNIT`.

    Grid: a 0.001, 0.005, 0.02; c 0.05, 0.1.
    """
    rng, theta, spent, path = np.random.default_rng(seed), box.start, 0, [(0, box.start)]
    momenta = [np.zeros_like(theta) for _ in box.shares]
    weights = np.array([len(share) for share in box.shares]) / len(box.everything)
    cost = 2 * directions * sum(min(BATCH, len(share)) for share in box.shares)
    k = 1
    while spent + cost <= budget:
        a_k, c_k, moved = a / UNIT**2 / (k + 1) ** 0.4, c / UNIT / k**0.1, []
        for share, momentum in zip(box.shares, momenta, strict=True):
            batch, gradient = _drawn(share, BATCH, rng), np.zeros_like(theta)
            for _ in range(directions):
                delta = rng.choice([-1, 1], len(theta)) * rng.uniform(0.5, 1, len(theta))
                plus, minus = (box.losses(theta + side * c_k * delta, batch).mean() for side in (1, -1))
                gradient += (plus - minus) / (2 * c_k * delta) / directions
            momentum[:] = 0.9 * momentum + gradient
            moved.append(theta - a_k * (gradient + 0.9 * momentum))
        theta, spent, k = weights @ np.array(moved), spent + cost, k + 1
        path.append((spent, theta))
    return path


def _drawn(data: Dataset, size: int, rng: np.random.Generator) -> Dataset:
    """At most `size` of the examples."""
    return data if len(data) <= size else data.take(np.sort(rng.choice(len(data), size, replace=False)))


PEERS: Mapping[str, Peer] = {"pycma": pycma, "dfo-ls": dfo_ls, "blackvip": blackvip}
