"""Doubly stochastic weights on a graph, for the nodes that are present."""

from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Matrix = Any  # scipy.sparse.csr_array (n, n) of float64


Links = Collection[frozenset[int]]


def metropolis_hastings(graph: Any, nodes: int, present: set[int], lost: Links) -> Matrix:
    """W_ij = 1 / (1 + max(degree i, degree j)) on the links between present nodes, and the rest on the diagonal.

    Xiao, Boyd & Lall 2005, IPSN, "A scheme for robust distributed sensor fusion based on average consensus", eq. 5.
    Symmetric, and so doubly stochastic, for any graph.
    """
    there = ((i, j) for i, j in graph.edges() if i in present and j in present and i != j)
    links = np.array([(i, j) for i, j in there if frozenset((i, j)) not in lost], np.int64)
    i, j = links.reshape(-1, 2).T
    degree = np.bincount(np.concatenate([i, j]), minlength=nodes)
    weights = 1 / (1 + np.maximum(degree[i], degree[j]))
    return _with_diagonal(np.concatenate([i, j]), np.concatenate([j, i]), np.concatenate([weights, weights]), nodes)


def one_peer(graph: Any, nodes: int, present: set[int], lost: Links) -> Matrix:
    """W = (I + P) / 2, with P the permutation that a directed graph of one successor each is.

    A node whose predecessor is missing hears from the nearest present one before that, so that P stays a permutation.
    The nodes of a cycle of P in which a link is lost all keep what they have: without one link, it is none.
    """
    sender_of = {}
    for node in sorted(present):
        sender = next(iter(graph.predecessors(node)))
        while sender not in present:
            sender = next(iter(graph.predecessors(sender)))
        sender_of[node] = sender
    for node, sender in list(sender_of.items()):
        if frozenset((node, sender)) in lost:
            while sender_of.get(node, node) != node:
                sender_of[node], node = node, sender_of[node]
    linked = [(node, sender) for node, sender in sender_of.items() if node != sender]
    rows, columns = np.array(linked, np.int64).reshape(-1, 2).T
    return _with_diagonal(rows, columns, np.full(len(rows), 0.5), nodes)


def _with_diagonal(rows: NDArray[Any], columns: NDArray[Any], weights: NDArray[Any], nodes: int) -> Matrix:
    rest = 1 - np.bincount(rows, weights, minlength=nodes)
    diagonal = np.arange(nodes)
    where = np.concatenate([rows, diagonal]), np.concatenate([columns, diagonal])
    return sparse.csr_array((np.concatenate([weights, rest]), where), shape=(nodes, nodes))
