"""What a run without a server says of its nodes: who talks to whom, how far they are apart, how good their mean is."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from fedbbpt.algorithms import ServerState
from fedbbpt.algorithms.gossip import Gossip
from fedbbpt.engines import Engine
from fedbbpt.run.client_pool import MeteredClientPool
from fedbbpt.run.evaluate import Result
from fedbbpt.run.experiment import Experiment
from fedbbpt.topology import contraction


def evaluate_mean(experiment: Experiment, state: ServerState, engine: Engine) -> Result:
    """Scores the mean of all nodes, which none of them has, on all test data; the prompt of each node is its own."""
    algorithm, clients = experiment.algorithm, experiment.client_sizes
    pool = MeteredClientPool(engine, algorithm, clients, state, may_drop=engine.partial_scores)
    message = replace(algorithm.catch_up(state), subset="test")
    return Result(pool.send("evaluate_mean", message), pool)


def describe(algorithm: Gossip, mean: Result, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The part "nodes" of `summary.json`.

    Links are pairs of numbers of nodes, in the order of "clients", in the first round. The bytes of a link are all that
    went over it in the run, in both directions, on average over the links of a round.
    """
    topology, every = algorithm.topology, range(max(1, algorithm.topology.period))
    per_round = [len(topology.graph(round_).edges()) for round_ in every]
    links = sum(per_round) / len(per_round)
    told = [row for row in rows if "consensus_distance" in row]
    return {
        "topology": topology.name,
        "contraction": contraction(topology),
        "gossip_steps": algorithm.gossip_steps,
        "links": sorted(sorted(link) for link in topology.graph(0).edges()),
        "bytes_per_link": round(sum(row["bytes_between"] for row in told) / links) if links else 0,
        "consensus_distance": told[-1]["consensus_distance"] if told else None,
        "mean_accuracy": mean.accuracy,
    }
