"""Topologies by name: networkx makes the graphs; those of time-varying topologies differ from round to round."""

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np

from fedbbpt.errors import ConfigError, UnknownName
from fedbbpt.topology.mixing import Matrix, metropolis_hastings, one_peer

MOST_TRIES = 100  # random graphs that are drawn until one is connected


@dataclass(frozen=True)
class Topology:
    """The links between nodes 0 … n − 1 in each round.

    Attributes:
        name: as `make` takes it.
        nodes: n.
        period: rounds after which the links repeat; 0 where each round draws its own.
        graph: the links of a round, counted from 0: a `networkx.Graph`, or, where a node hears from one that does not
            hear from it, a `networkx.DiGraph` in which each node has one successor and one predecessor.
    """

    name: str
    nodes: int
    period: int
    graph: Callable[[int], Any]

    def mixing(
        self, round_: int, present: Collection[int] | None = None, lost: Collection[tuple[int, int]] = ()
    ) -> Matrix:
        """The mixing matrix W (n, n) of a round: node i takes the mean of all x_j weighted by W_ij.

        W is doubly stochastic: rows and columns add up to 1, so that mixing leaves the mean of all nodes as it is.
        Nodes that are not `present` keep what they have, and the others share their weights anew. So it is with `lost`
        links (receiver, sender), over which nothing came: as if they were not there, in both directions.
        """
        graph, everybody = self.graph(round_), range(self.nodes)
        here = set(everybody if present is None else present)
        mix = one_peer if graph.is_directed() else metropolis_hastings
        return mix(graph, self.nodes, here, {frozenset(link) for link in lost})


def make(name: str, nodes: int, seed: int = 0) -> Topology:
    """A topology of so many nodes.

    Args:
        name: `ring`; `torus`, a grid with its edges joined, as square as the number allows; `exponential`, with links
            to the nodes 1, 2, 4, … places away; `star`; `complete`; `random-regular:K`, with K links for each node;
            `erdos-renyi:P`, where each link is there with probability P; `file:PATH`, a list of pairs of nodes, one in
            a line; and, anew in each round, `matching`, random pairs, and `one-peer-exponential`, where each node hears
            from that 1, then 2, 4, … places before it (Ying et al. 2021, arXiv 2110.13363).
        nodes: n, at least 1.
        seed: of the random ones.

    Raises:
        ConfigError: no such topology, or not of so many nodes, or it is not connected.
    """
    kind, _, option = name.partition(":")
    if kind not in NAMES:
        raise UnknownName("topology", kind, [*NAMES])
    if (kind in OPTIONS) != bool(option):
        wanted = f"{kind}:{OPTIONS[kind]}" if kind in OPTIONS else f"{kind} alone"
        raise ConfigError(f"topology {name!r} is not complete, or says too much: write {wanted}")
    if kind in CHANGING:
        period, graph_of = CHANGING[kind](nodes, seed)
        return Topology(name, nodes, period, graph_of)
    graph = STATIC[kind](nodes, option, seed)
    if not nx.is_connected(graph):
        raise ConfigError(f"topology {name!r} of {nodes} nodes falls into parts that would never hear of each other")
    return Topology(name, nodes, 1, lambda _: graph)


def _torus(nodes: int, _option: str, _seed: int) -> Any:
    rows = next(rows for rows in range(math.isqrt(nodes), 0, -1) if nodes % rows == 0)
    grid = nx.grid_2d_graph(rows, nodes // rows, periodic=True)
    return nx.convert_node_labels_to_integers(grid, ordering="sorted")


def _exponential(nodes: int, _option: str, _seed: int) -> Any:
    return nx.circulant_graph(nodes, [2**k for k in range(max(1, (nodes - 1).bit_length())) if 2**k < max(2, nodes)])


def _random_regular(nodes: int, option: str, seed: int) -> Any:
    links = _number("random-regular", option, int)
    if not 0 < links < nodes or nodes * links % 2:
        raise ConfigError(
            f"topology 'random-regular:{option}': each of {nodes} nodes cannot have {option} links; take a number from "
            f"1 to {nodes - 1}, and an even one where the number of nodes is odd"
        )
    return _connected(f"random-regular:{option}", nodes, lambda i: nx.random_regular_graph(links, nodes, seed + i))


def _erdos_renyi(nodes: int, option: str, seed: int) -> Any:
    share = _number("erdos-renyi", option, float)
    if not 0 < share <= 1:
        raise ConfigError(f"topology 'erdos-renyi:{option}': a probability is above 0 and at most 1")
    return _connected(f"erdos-renyi:{option}", nodes, lambda i: nx.fast_gnp_random_graph(nodes, share, seed + i))


def _of_file(nodes: int, option: str, _seed: int) -> Any:
    graph: Any = nx.empty_graph(nodes)
    try:
        lines = Path(option).expanduser().read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as e:
        raise ConfigError(f"topology 'file:{option}' cannot be read: {e}") from e
    for number, line in enumerate(lines, 1):
        pair = line.partition("#")[0].replace(",", " ").split()
        if not pair:
            continue
        if len(pair) != 2 or not all(node.isdecimal() and int(node) < nodes for node in pair):
            raise ConfigError(
                f"{option}, line {number}: expected two nodes from 0 to {nodes - 1}, as in '0 1', got {line[:60]!r}"
            )
        graph.add_edge(*map(int, pair))
    graph.remove_edges_from([(node, node) for node in range(nodes)])
    return graph


def _connected(name: str, nodes: int, draw: Callable[[int], Any]) -> Any:
    for i in range(MOST_TRIES):
        if nx.is_connected(graph := draw(i)):
            return graph
    raise ConfigError(f"topology {name!r}: none of {MOST_TRIES} graphs of {nodes} nodes was connected; take more links")


def _matching(nodes: int, seed: int) -> tuple[int, Callable[[int], Any]]:
    def pairs(round_: int) -> Any:
        order = np.random.default_rng([seed, round_]).permutation(nodes)[: nodes // 2 * 2].reshape(-1, 2)
        graph: Any = nx.empty_graph(nodes)
        graph.add_edges_from(order.tolist())
        return graph

    return 0, pairs


def _one_peer_exponential(nodes: int, _seed: int) -> tuple[int, Callable[[int], Any]]:
    period = max(1, math.ceil(math.log2(max(2, nodes))))

    def shifted(round_: int) -> Any:
        graph: Any = nx.empty_graph(nodes, nx.DiGraph)
        graph.add_edges_from((node, (node + 2 ** (round_ % period)) % nodes) for node in range(nodes))
        return graph

    return period, shifted


def _number(kind: str, option: str, of: Callable[[str], Any]) -> Any:
    try:
        return of(option)
    except ValueError:
        raise ConfigError(f"topology '{kind}:{option}': expected a number, as in '{kind}:{EXAMPLES[kind]}'") from None


def _plain(make_graph: Callable[[int], Any]) -> Callable[[int, str, int], Any]:
    return lambda nodes, _option, _seed: make_graph(nodes)


EXAMPLES = {"random-regular": "4", "erdos-renyi": "0.3"}
OPTIONS = {**EXAMPLES, "file": "PATH"}  # of those that take one
STATIC: Mapping[str, Callable[[int, str, int], Any]] = {  # from nodes, option and seed
    "ring": _plain(nx.cycle_graph),
    "torus": _torus,
    "exponential": _exponential,
    "star": _plain(lambda nodes: nx.star_graph(nodes - 1)),
    "complete": _plain(nx.complete_graph),
    "random-regular": _random_regular,
    "erdos-renyi": _erdos_renyi,
    "file": _of_file,
}
CHANGING = {"matching": _matching, "one-peer-exponential": _one_peer_exponential}  # from nodes and seed
NAMES = (*STATIC, *CHANGING)
