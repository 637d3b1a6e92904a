"""Doubly stochastic weights on a graph, for the nodes that are present."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Matrix = Any  # scipy.sparse.csr_array (n, n) of float64


def metropolis_hastings(graph: Any, nodes: int, present: set[int]) -> Matrix:
    """W_ij = 1 / (1 + max(degree i, degree j)) on the links between present nodes, and the rest on the diagonal.

    Xiao, Boyd & Lall 2005, IPSN, "A scheme for robust distributed sensor fusion based on average consensus", eq. 5.
    Symmetric, and so doubly stochastic, for any graph.
    """
    links = np.array([(i, j) for i, j in graph.edges() if i in present and j in present and i != j], np.int64)
    i, j = links.reshape(-1, 2).T
    degree = np.bincount(np.concatenate([i, j]), minlength=nodes)
    weights = 1 / (1 + np.maximum(degree[i], degree[j]))
    return _with_diagonal(np.concatenate([i, j]), np.concatenate([j, i]), np.concatenate([weights, weights]), nodes)


def one_peer(graph: Any, nodes: int, present: set[int]) -> Matrix:
    """W = (I + P) / 2, with P the permutation that a directed graph of one successor each is.

    A node whose predecessor is missing hears from the nearest present one before that, so that P stays a permutation.
    """
    receivers, senders = [], []
    for node in sorted(present):
        sender = next(iter(graph.predecessors(node)))
        while sender not in present:
            sender = next(iter(graph.predecessors(sender)))
        if sender != node:
            receivers.append(node)
            senders.append(sender)
    rows, columns = np.array(receivers, np.int64), np.array(senders, np.int64)
    return _with_diagonal(rows, columns, np.full(len(rows), 0.5), nodes)


def _with_diagonal(rows: NDArray[Any], columns: NDArray[Any], weights: NDArray[Any], nodes: int) -> Matrix:
    rest = 1 - np.bincount(rows, weights, minlength=nodes)
    diagonal = np.arange(nodes)
    where = np.concatenate([rows, diagonal]), np.concatenate([columns, diagonal])
    return sparse.csr_array((np.concatenate([weights, rest]), where), shape=(nodes, nodes))
