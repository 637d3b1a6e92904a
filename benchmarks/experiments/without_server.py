"""Training without a server, beside one: `python -m fedbbpt_benchmarks.experiments.without_server OUT.jsonl`.

Sixteen nodes train with DFedAvg, DFedAvgM, DFedSAM and DFedSAM-MGS (four gossip steps a round), and with DFedAvg and
four gossip steps, which is to MGS what DFedAvg is to DFedSAM. On the complete graph, they are what a server that
averages all nodes would do.

Readouts, the white-box part, have exact gradients and no query of their own: 25 rounds of ten steps. Beside them: a
server's exact fit, and that of each node by itself.

Prompts are trained from answers alone, in 15 rounds, each with two points on eight examples at each node. DFedAvg takes
steps of `spsa`, DFedAvgM of `spsa-gc`, which has momentum, and DFedSAM of `zo-sam`, which takes its way uphill from the
step before: all have as many steps for as many queries. Beside them: a server's mean, and each node by itself, both
with `spsa-gc`.

Parts of a split model (SFPrompt's soft tokens, tail and classifier) have exact gradients, too: 8 rounds with 8 examples
of each class. Beside them: a server's mean with as many steps. A sharpness-aware step asks twice, so that DFedAvg also
takes twice as many steps ("two epochs"), for as many queries and as many bytes.

Accuracy is that of each node on its own test data, and that of the mean of all nodes. Every finished run is a line of
OUT.jsonl, so that a bench that was stopped goes on; at the end, the table of all lines is printed.
"""

import math
import statistics
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np

from fedbbpt.algorithms.flood import Flood
from fedbbpt.commands.errors import Program
from fedbbpt.config import Config, make_config
from fedbbpt.optim.spsa import SpsaGC
from fedbbpt.readouts.identity import Identity
from fedbbpt.run.train import train
from fedbbpt.testing import Toy, toy_client
from fedbbpt.testing.simulation import simulate
from fedbbpt.topology import make
from fedbbpt.types import Update, Usage
from fedbbpt_benchmarks.experiments.stored_runs import run_missing

NODES = 16
TASKS = {  # none tuned anything here
    "readout": ("pillow-letters", "letters", "emoji-tones", "scripts"),  # whose head is worth having
    "prompt": ("digits", "letters", "emoji-tones", "scripts"),
    "split": ("digits", "letters", "emoji-tones", "scripts"),
}
TOPOLOGIES = ("ring", "exponential")
MGS = {"gossip_steps": 4}
READOUT: Mapping[str, Mapping[str, Any]] = {  # options of the algorithm
    "dfedavg": {},
    "dfedavg, Q = 4": MGS,
    "dfedavgm": {"momentum": 0.9},
    "dfedsam": {"rho": 0.05},
    "dfedsam-mgs": {"rho": 0.05, **MGS},
}
PROMPT: Mapping[str, Mapping[str, Any]] = {"dfedavg": {}, "dfedavgm": {}, "dfedsam": {}, "dfedsam-mgs": MGS}
SPLIT = {name: READOUT[name] for name in ("dfedavg", "dfedavgm", "dfedsam", "dfedsam-mgs")}
SPLIT |= {"dfedavg, two epochs": {"epochs": 2}}
OPTIONS = {"readout": READOUT, "prompt": PROMPT, "split": SPLIT}
WAYS = {  # method and topology, by what is trained
    "readout": [*product(["dfedavg", "dfedsam"], ["complete"]), *product(READOUT, TOPOLOGIES)],
    "prompt": [*product(PROMPT, TOPOLOGIES)],
    "split": [*product(SPLIT, TOPOLOGIES)],
}
COMPARED = {  # pairs of methods, by what is trained
    "readout": [("dfedsam", "dfedavg"), ("dfedsam-mgs", "dfedavg, Q = 4"), ("dfedavg, Q = 4", "dfedavg")],
    "prompt": [("dfedsam", "dfedavg"), ("dfedsam-mgs", "dfedsam"), ("dfedavgm", "dfedavg")],
    "split": [*product(("dfedsam", "dfedsam-mgs"), ("dfedavg", "dfedavg, two epochs")), ("dfedavgm", "dfedavg")],
}
DIMENSIONS = (13, 105, 9_920, 1_000_000)
BESIDE = {
    "readout": {"server": "fedavg", "local": "local"},
    "prompt": {"server": "fedavg", "local": "local"},
    "split": {"server": "sfprompt"},
}
ROUNDS = {"readout": 25, "prompt": 15, "split": 8}
ALPHAS = (0.1, 0.3)


class Cell(NamedTuple):
    """One run."""

    trained: str  # "readout", "prompt" or "split"
    task: str
    alpha: float  # Dirichlet, of the nodes' classes
    seed: int
    method: str
    topology: str  # empty where there is none


@click.command(cls=Program)
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--trained", "parts", multiple=True, type=click.Choice([*WAYS]), default=[*WAYS], show_default=True)
@click.option("--seeds", default="1,2,3", show_default=True)
@click.option("--bytes", "only_bytes", is_flag=True, help="Only print what crosses a link in a round, by dimension.")
@click.option("--limit", default=500, show_default=True, help="Test examples of a task.")
def main(out: Path, parts: Sequence[str], seeds: str, only_bytes: bool, limit: int) -> None:
    """Runs all cells that OUT lacks, and prints the table."""
    if only_bytes:
        click.echo(bytes_table())
        return
    cells = [
        Cell(trained, task, alpha, int(seed), method, topology)
        for trained, seed, alpha in product(parts, seeds.split(","), ALPHAS)
        for task, (method, topology) in product(TASKS[trained], [*product(BESIDE[trained], [""]), *WAYS[trained]])
    ]
    finished = run_missing(out, [cell._asdict() for cell in cells], lambda row: result(cell_of(row), limit))
    for trained in WAYS:
        rows = [row for row in finished if row["trained"] == trained]
        click.echo(f"\n{trained}s\n\n{table(rows)}\n\n{differences(rows, COMPARED[trained])}")


def cell_of(row: Mapping[str, Any]) -> Cell:
    """The run that a line is of."""
    return Cell(*(row[part] for part in Cell._fields))


def config_of(cell: Cell, limit: int, **more: Any) -> Config:
    """The settings of a cell, with more options of its algorithm if there are any."""
    gossip = "gossip-sfprompt" if cell.trained == "split" else "gossip"
    algorithm: dict[str, Any] = {"name": BESIDE[cell.trained].get(cell.method, gossip)}
    settings: dict[str, Any] = {"prompt": {"name": "none"}} if cell.trained == "readout" else {}
    if cell.topology:
        algorithm |= {"topology": cell.topology, **OPTIONS[cell.trained][cell.method]}
    if cell.trained == "prompt":
        settings |= prompt_settings(cell)
        algorithm["batch_size"] = 8
    fits = cell.trained == "readout" and not cell.topology  # exactly, in one round
    settings |= dict.fromkeys(("rounds", "evaluate_every"), 1 if fits else ROUNDS[cell.trained])
    data = {"clients": NODES, "dirichlet_alpha": cell.alpha, "test_limit": limit}
    if cell.trained == "split":
        data["shots_per_class"] = 8
    settings |= {"task": {"name": cell.task}, "algorithm": algorithm | more}
    return make_config({**settings, "data": data, "seed": cell.seed})


def result(cell: Cell, limit: int) -> dict[str, Any]:
    """Trains a cell."""
    with tempfile.TemporaryDirectory() as folder:
        summary = train(config_of(cell, limit), Path(folder) / "run")
    nodes = summary.get("nodes", {})
    return {
        "queries": summary["queries_by_purpose"].get("training", 0),
        "zero_shot": summary["zero_shot_accuracy"],
        "own": summary["test_accuracy"],
        "mean": nodes.get("mean_accuracy"),
        "consensus_distance": nodes.get("consensus_distance"),
        "contraction": nodes.get("contraction"),
        "bytes_per_link": nodes.get("bytes_per_link"),
    }


def prompt_settings(cell: Cell) -> dict[str, Any]:
    """The settings of a prompt alone, with the optimizer of the method."""
    rule: dict[str, Any] = {"name": "spsa" if cell.method == "dfedavg" else "spsa-gc"}
    if "sam" in cell.method:  # with the gains of spsa
        rule = {"name": "zo-sam", "ascent": "previous"}
    optimizer = {**rule, "num_directions": 1}
    return {"prompt": {"name": "affine"}, "readout": {"name": "identity"}, "optimizer": optimizer}


def table(rows: Iterable[Mapping[str, Any]]) -> str:
    """Means over tasks and seeds, and the differences to the server's, paired by run: mean ± standard error."""
    rows = list(rows)
    server = {(row["task"], row["alpha"], row["seed"]): row["own"] for row in rows if row["method"] == "server"}
    groups: dict[tuple[float, str, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["alpha"], row["method"], row["topology"]), []).append(row)
    lines = [
        "| α | method | topology | runs | own parameters | to the server's | mean of nodes | distance | a link |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for (alpha, method, topology), of in sorted(groups.items(), key=lambda group: group[0][0]):
        gains = [100 * (row["own"] - server[row["task"], row["alpha"], row["seed"]]) for row in of]
        shown = {part: [row[part] for row in of if row[part] is not None] for part in ("mean", "consensus_distance")}
        mean, apart = (f"{statistics.fmean(values):.3f}" if values else "" for values in shown.values())
        sent = [row["bytes_per_link"] for row in of if row["bytes_per_link"]]
        size = statistics.fmean(sent) if sent else 0
        link = "" if not sent else f"{size / 1e6:.0f} MB" if size > 1e6 else f"{size / 1e3:.0f} kB"
        own = statistics.fmean(row["own"] for row in of)
        lines.append(
            f"| {alpha} | {method} | {topology} | {len(of)} | {own:.3f} | {error(gains)} | {mean} | {apart} | {link} |"
        )
    return "\n".join(lines)


def differences(rows: Iterable[Mapping[str, Any]], compared: Iterable[tuple[str, str]]) -> str:
    """The mean of nodes under one method less that under another, in points, paired by run: mean ± standard error."""
    found = {cell_of(row): row["mean"] for row in rows}
    lines = [f"| mean of nodes | {' | '.join(TOPOLOGIES)} |", "|---|---|---|"]
    for method, other in compared:
        shown = []
        for topology in TOPOLOGIES:
            ours = {cell: mean for cell, mean in found.items() if (cell.method, cell.topology) == (method, topology)}
            theirs = {cell: found.get(cell._replace(method=other)) for cell in ours}
            shown.append(error([100 * (ours[cell] - mean) for cell, mean in theirs.items() if mean is not None]))
        if any(shown):
            lines.append(f"| {method} against {other} | {' | '.join(shown)} |")
    return "\n".join(lines)


def bytes_table() -> str:
    """What crosses a link in a round, in both directions and on average over links, for prompts of d parameters.

    Of a flood, all letters of a round, with the losses of a two-point estimate from each node, whatever d is; of
    gossip, one averaging. Messages as they are serialised, without a readout.
    """
    lines = ["| d | flood, ring | flood, exponential | gossip, ring | gossip, exponential |", "|---|---|---|---|---|"]
    graphs = [make(topology, NODES).graph(0) for topology in TOPOLOGIES]
    floods = [flooded(topology) / graph.number_of_edges() for topology, graph in zip(TOPOLOGIES, graphs, strict=True)]
    for d in DIMENSIONS:
        letter = {"prompt": np.zeros(d, np.float32), "readout": np.zeros(0, np.float32)}
        gossips = [2 * len(Update("client-000", letter, 10, math.nan, Usage()).to_bytes())] * len(graphs)
        lines.append(f"| {d:,} | {' | '.join(f'{size / 1e3:,.1f} kB' for size in (*floods, *gossips))} |")
    return "\n".join(lines)


def flooded(topology: str) -> int:
    """The bytes that nodes write to each other in a round of a flood."""
    toy, clients = Toy(), [toy_client(f"client-{i:03d}", seed=i) for i in range(NODES)]
    alone = toy.having(clients=clients, readout=Identity(toy.backend.info, toy.backend.info.classes))
    one = simulate(partial(Flood, topology=topology), alone.having(optimizer=partial(SpsaGC, num_directions=1)))
    one.round(one.algorithm.init())
    return one.pool.bytes_between


def error(values: Sequence[float]) -> str:
    """Mean ± standard error; empty without values."""
    if not values:
        return ""
    spread = statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0
    return f"{statistics.fmean(values):+.1f} ± {spread:.1f}"


if __name__ == "__main__":
    main()
