"""How fast a topology brings its nodes together."""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh

from fedbbpt.topology.graphs import Topology
from fedbbpt.topology.mixing import Matrix

DENSE = 300  # nodes up to which all eigenvalues are computed
ROUNDS = 64  # of a topology that draws its links anew
MOST_STEPS = 50  # of Lanczos's method, before the matrix is factorised
NEAR = 1e-9  # distance of the shift from ±1


def contraction(topology: Topology) -> float:
    """λ: the factor by which a round brings the nodes nearer to their mean, in root mean square, at worst.

    Where the links are the same in all rounds, the second largest absolute eigenvalue of W; the spectral gap is 1 − λ.
    Where they repeat after T rounds, the T-th root of the largest singular value of their product without the mean.
    Where they are drawn, or repeat among many nodes, the geometric mean over 64 rounds from one random start, which is
    an estimate, not a bound.
    """
    n = topology.nodes
    if n == 1:
        return 0.0
    if topology.period == 1:
        return _second_eigenvalue(topology.mixing(0), n)
    if topology.period and n <= DENSE:
        product = np.eye(n) - 1 / n
        for round_ in range(topology.period):
            product = topology.mixing(round_) @ product
        return float(np.linalg.norm(product, 2) ** (1 / topology.period))
    return _of_a_random_start(topology)


def _second_eigenvalue(mixing: Matrix, n: int) -> float:
    if n <= DENSE:
        return float(np.abs(np.linalg.eigvalsh(mixing.toarray() - 1 / n)).max())
    without_mean = LinearOperator((n, n), lambda x: mixing @ x - x.mean(), dtype=np.float64)
    start = np.random.default_rng(0).standard_normal(n)
    try:
        found = eigsh(without_mean, 1, which="LM", v0=start, maxiter=MOST_STEPS, tol=1e-8, return_eigenvectors=False)
    except ArpackNoConvergence:  # a long ring, say, whose eigenvalues crowd at 1: there, factors are as sparse as W
        near_one = float(eigsh(mixing.tocsc(), 2, sigma=1 + NEAR, v0=start, return_eigenvectors=False).min())
        if near_one >= 1 - 2 * mixing.diagonal().min():  # none is below -that (Gershgorin)
            return near_one
        found = np.append(eigsh(mixing, 1, which="SA", v0=start, return_eigenvectors=False), near_one)
    return float(np.abs(found).max())


def _of_a_random_start(topology: Topology) -> float:
    x: NDArray[np.float64] = np.random.default_rng(0).standard_normal(topology.nodes)
    x -= x.mean()
    before = np.linalg.norm(x)
    for round_ in range(ROUNDS):
        x = topology.mixing(round_) @ x
    return float((np.linalg.norm(x - x.mean()) / before) ** (1 / ROUNDS))
