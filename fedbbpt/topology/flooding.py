"""How often what one node says crosses the links until all have it."""

from typing import Any

import networkx as nx
import numpy as np
from scipy.sparse import csgraph

from fedbbpt.types import Int64


def crossings(graph: Any) -> Int64:
    """The number of times (n,) that a letter of each node crosses a link of a connected graph.

    Each node sends a letter that is new to it to all neighbours but those that it just came from. So a link between
    nodes at different distances of the origin is crossed once, and one between nodes at the same distance twice.
    """
    links = np.array(list(graph.edges()), np.int64).reshape(-1, 2)
    distances = csgraph.shortest_path(nx.to_scipy_sparse_array(graph, nodelist=sorted(graph)), unweighted=True)
    alike = distances[:, links[:, 0]] == distances[:, links[:, 1]]
    count: Int64 = len(links) + alike.sum(1)
    return count
