"""Readouts without a server, beside one: `python -m fedbbpt_benchmarks.experiments.without_server OUT.jsonl`.

Sixteen nodes train a linear readout on the model's answers, by exact gradients and without a query of its own: DFedAvg,
DFedAvgM, DFedSAM and DFedSAM-MGS (four gossip steps a round), and DFedAvg with four gossip steps, which is to MGS what
DFedAvg is to DFedSAM. All have 25 rounds of ten steps. On the complete graph, they are what a server that averages all
nodes would do. Beside them: a server's exact fit, and that of each node by itself.

Accuracy is that of each node on its own test data, and that of the mean of all nodes. Every finished run is a line of
OUT.jsonl, so that a bench that was stopped goes on; at the end, the table of all lines is printed.
"""

import json
import statistics
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np

from fedbbpt.commands.errors import Program
from fedbbpt.config import make_config
from fedbbpt.run.train import train
from fedbbpt.topology import make
from fedbbpt.topology.flooding import crossings
from fedbbpt.types import Message, Update, Usage

NODES = 16
TASKS = ("pillow-letters", "letters", "emoji-tones", "scripts")  # whose head is worth having; none tuned anything here
TOPOLOGIES = ("ring", "exponential")
GOSSIP: Mapping[str, Mapping[str, Any]] = {
    "dfedavg": {},
    "dfedavg, Q = 4": {"gossip_steps": 4},
    "dfedavgm": {"momentum": 0.9},
    "dfedsam": {"rho": 0.05},
    "dfedsam-mgs": {"rho": 0.05, "gossip_steps": 4},
}
DIMENSIONS = (13, 105, 9_920, 1_000_000)
BESIDE = {"server": "fedavg", "local": "local"}


class Cell(NamedTuple):
    """One run."""

    task: str
    alpha: float  # Dirichlet, of the nodes' classes
    seed: int
    method: str
    topology: str  # empty where there is none


@click.command(cls=Program)
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--task", "tasks", multiple=True, default=TASKS, show_default=True)
@click.option("--alpha", "alphas", multiple=True, type=float, default=(0.1, 0.3), show_default=True)
@click.option("--seeds", default="1,2,3", show_default=True)
@click.option("--bytes", "only_bytes", is_flag=True, help="Only print what crosses a link in a round, by dimension.")
@click.option("--limit", default=500, show_default=True, help="Test examples of a task.")
def main(out: Path, tasks: Sequence[str], alphas: Sequence[float], seeds: str, only_bytes: bool, limit: int) -> None:
    """Runs all cells that OUT lacks, and prints the table."""
    if only_bytes:
        click.echo(bytes_table())
        return
    ways = [*product(BESIDE, [""]), *product(["dfedavg", "dfedsam"], ["complete"]), *product(GOSSIP, TOPOLOGIES)]
    cells = [
        Cell(task, alpha, int(seed), method, topology)
        for task, alpha, seed, (method, topology) in product(tasks, alphas, seeds.split(","), ways)
    ]
    done = {Cell(*(row[part] for part in Cell._fields)) for row in read(out)}
    for cell in cells:
        if cell not in done:
            row = cell._asdict() | result(cell, limit)
            with out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
            click.echo(json.dumps(row), err=True)
    click.echo(table(read(out)))


def read(out: Path) -> list[dict[str, Any]]:
    """The finished runs of a file; none if there is no file."""
    return [json.loads(line) for line in out.read_text("utf-8").splitlines()] if out.exists() else []


def result(cell: Cell, limit: int) -> dict[str, Any]:
    """Trains a cell."""
    algorithm = {"name": BESIDE.get(cell.method, "gossip")}
    if cell.topology:
        algorithm |= {"topology": cell.topology, **GOSSIP[cell.method]}
    data = {"clients": NODES, "dirichlet_alpha": cell.alpha, "test_limit": limit}
    settings = {"task": {"name": cell.task}, "prompt": {"name": "none"}, "algorithm": algorithm}
    with tempfile.TemporaryDirectory() as folder:
        summary = train(make_config({**settings, "data": data, "seed": cell.seed}), Path(folder) / "run")
    nodes = summary.get("nodes", {})
    return {
        "zero_shot": summary["zero_shot_accuracy"],
        "own": summary["test_accuracy"],
        "mean": nodes.get("mean_accuracy"),
        "consensus_distance": nodes.get("consensus_distance"),
        "contraction": nodes.get("contraction"),
        "bytes_per_link": nodes.get("bytes_per_link"),
    }


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
        link = f"{statistics.fmean(sent) / 1e3:.0f} kB" if sent else ""
        own = statistics.fmean(row["own"] for row in of)
        lines.append(
            f"| {alpha} | {method} | {topology} | {len(of)} | {own:.3f} | {_error(gains)} | {mean} | {apart} | {link} |"
        )
    return "\n".join(lines)


def bytes_table() -> str:
    """What crosses a link in a round, in both directions and on average over links, for prompts of d parameters.

    Of a flood, the losses of a two-point estimate at each node, whatever d is; of gossip, one averaging. Messages as
    they are serialised, without a readout.
    """
    losses = {"losses": np.zeros((1, 2), np.float16)}
    update = len(Update("client-000", losses, 10, 0.1234567, Usage(20, 1), 0.1234567).to_bytes())
    lines = ["| d | flood, ring | flood, exponential | gossip, ring | gossip, exponential |", "|---|---|---|---|---|"]
    graphs = [make(topology, NODES).graph(0) for topology in TOPOLOGIES]
    for d in DIMENSIONS:
        floods = [update * int(crossings(graph).sum()) / graph.number_of_edges() for graph in graphs]
        gossips = []
        for graph in graphs:
            degrees = [degree for _, degree in graph.degree()]
            sizes = [_mail(d, degree) for degree in degrees]
            gossips.append(sum(sizes) / graph.number_of_edges())
        lines.append(f"| {d:,} | {' | '.join(f'{size / 1e3:,.1f} kB' for size in (*floods, *gossips))} |")
    return "\n".join(lines)


def _mail(d: int, neighbours: int) -> int:
    """The bytes that a node gets from its neighbours."""
    parts = {
        "prompt": np.zeros((neighbours, d)),
        "readout": np.zeros((neighbours, 0)),
        "weights": np.zeros(neighbours + 1),
    }
    return len(Message(1, 1, {}).having(**parts).to_bytes())


def _error(values: Sequence[float]) -> str:
    spread = statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0
    return f"{statistics.fmean(values):+.1f} ± {spread:.1f}"


if __name__ == "__main__":
    main()
