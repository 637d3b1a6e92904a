"""A run without a server, in its results: who talks to whom, how far nodes are apart, how good and sharp they are."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from fedbbpt.algorithms import Algorithm, ServerState
from fedbbpt.algorithms.flood import Flood
from fedbbpt.algorithms.neighbour_averaging import NeighbourAveraging
from fedbbpt.algorithms.sharpness import PROMPT_RHO, PROMPT_SHARPNESS, RHO, SHARPNESS
from fedbbpt.engines import Engine
from fedbbpt.run.client_pool import MeteredClientPool
from fedbbpt.run.evaluate import Result
from fedbbpt.run.experiment import Experiment
from fedbbpt.topology import Topology, contraction
from fedbbpt.types import Parameters


def result(experiment: Experiment, state: ServerState, engine: Engine) -> tuple[Parameters, MeteredClientPool]:
    """The parameters with which a run ends, which the nodes have kept so far, and what it cost to learn them."""
    algorithm, clients = experiment.algorithm, experiment.client_sizes
    pool = MeteredClientPool(engine, algorithm, clients, state, may_drop=engine.partial_scores)
    return algorithm.result(state, pool.send), pool


class Findings(NamedTuple):
    """What the nodes say when the rounds are over."""

    mean: Result | None = None  # of all nodes, on all their test data; None where all have the same parameters
    sharpness: Mapping[str, Mapping[str, float] | None] = {}  # of what is their own, on average
    pools: Sequence[MeteredClientPool] = ()  # the cost


def ask(experiment: Experiment, state: ServerState, engine: Engine) -> Findings:
    """Scores the mean of all nodes, which is in the state, and asks how sharp their own parameters are."""
    algorithm, clients = experiment.algorithm, experiment.client_sizes
    if not algorithm.is_decentralised:
        return Findings()
    pool = MeteredClientPool(engine, algorithm, clients, state, may_drop=engine.partial_scores)
    message = algorithm.broadcast(state)
    mean = Result(pool.send("evaluate_mean", replace(message, parameters=state.parameters, subset="test")), pool)
    if SHARPNESS not in algorithm.handlers:
        return Findings(mean, pools=[pool])
    another = MeteredClientPool(engine, algorithm, clients, state, may_drop=engine.partial_scores)
    said = [one.payload for one in another.send(SHARPNESS, message)]
    found = {
        name: _on_average([one[name] for one in said if name in one], rho)
        for name, rho in ((SHARPNESS, RHO), (PROMPT_SHARPNESS, PROMPT_RHO))
    }
    return Findings(mean, found, [pool, another])


def describe(algorithm: Algorithm, rows: Sequence[Mapping[str, Any]], findings: Findings) -> dict[str, Any]:
    """The part "nodes" of `summary.json`; empty for algorithms other than ours.

    Links are pairs of numbers of nodes, in the order of "clients", in the first round. The bytes of a link are all that
    went over it in the rounds, in both directions, on average over links.
    """
    if isinstance(algorithm, Flood):
        hops = nx.diameter(algorithm.topology.graph(0))
        return {**_links(algorithm.topology, rows), "hops": hops}
    if not isinstance(algorithm, NeighbourAveraging):
        return {}
    distances = [row["consensus_distance"] for row in rows if "consensus_distance" in row]
    parts = {
        "contraction": contraction(algorithm.topology),
        "gossip_steps": algorithm.gossip_steps,
        "compression": algorithm.compression,
        "consensus_distance": distances[-1] if distances else None,
        "mean_accuracy": findings.mean.accuracy if findings.mean else None,
    }
    return {**_links(algorithm.topology, rows), **parts, SHARPNESS: None, PROMPT_SHARPNESS: None, **findings.sharpness}


def _on_average(said: Sequence[NDArray[np.float32]], rho: float) -> dict[str, float] | None:
    """The mean over the nodes that know how sharp their parameters are; None if none does."""
    known = [one.astype(np.float64) for one in said if np.isfinite(one).all()]
    if not known:
        return None
    at_random, uphill = np.mean(known, 0).tolist()
    return {"rho": rho, "random": at_random, "adversarial": uphill}


def _links(topology: Topology, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    counts = [len(topology.graph(round_).edges()) for round_ in range(max(1, topology.period))]
    sent, links = sum(row.get("bytes_between", 0) for row in rows), sum(counts) / len(counts)
    return {
        "topology": topology.name,
        "links": sorted(sorted(link) for link in topology.graph(0).edges()),
        "bytes_per_link": round(sent / links) if links else 0,
    }
