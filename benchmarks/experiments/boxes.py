"""Training loss by queries, beside other people's searches: `python -m fedbbpt_benchmarks.experiments.boxes OUT.jsonl`.

A box is a task, a prompt and a number of clients, whose classes are divided with α = 0.1; the scores are read as they
are. Every finished cell (box, method, seed) is a line of OUT.jsonl, so that a run that was stopped goes on. At the end,
the table of all cells in the file is printed.

Nothing is tuned on the seeds that are reported, 1 to 3. Our own methods have their defaults, which were chosen on seeds
11 to 13 of digits:affine and digits:low-rank among these, not all together: first step 0.15, 0.3, 0.6, 1.2, and how it
falls with the dimension; c 0.15, 0.35, 0.5, 1; directions 1, 2, 4; batch 16, 32, 128, 160; for `cma`, σ 0.75, 1, 1.5,
2, population 6, 11. `peers` has the grids of the others.
"""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path as FilePath
from typing import Any, NamedTuple

import click

from fedbbpt.commands.errors import Program
from fedbbpt.testing.simulation import Simulation as Rounds
from fedbbpt_benchmarks.experiments.box import Box, OpenBox, Path
from fedbbpt_benchmarks.experiments.peers import PEERS
from fedbbpt_benchmarks.experiments.stored_runs import run_missing

STOPS = (2_500, 5_000, 10_000, 20_000)
BOXES = [f"digits:{prompt}:{clients}" for prompt in ("affine", "low-rank", "padding") for clients in (1, 10)]
COMMON = {"name": "common-candidates"}
OURS: Mapping[str, Mapping[str, Any]] = {
    **{name: {"optimizer": {"name": name}, "algorithm": {"name": "fedavg"}} for name in ("spsa-gc", "spsa", "zo-adam")},
    "cma": {"optimizer": {"name": "cma"}, "algorithm": {"name": "fedavg"}},
    "cma, common": {"optimizer": {"name": "cma"}, "algorithm": COMMON},
    "spsa-gc, common": {"optimizer": {"name": "spsa-gc"}, "algorithm": COMMON},
    "random, common": {"optimizer": {"name": "random"}, "algorithm": COMMON},
    "newton": {"algorithm": {"name": "newton"}},
}


class Cell(NamedTuple):
    """One search on one box."""

    box: str
    method: str
    seed: int


@click.command(cls=Program)
@click.argument("out", type=click.Path(path_type=FilePath))
@click.option("--box", "boxes", multiple=True, default=BOXES, show_default=True, help="task:prompt:clients")
@click.option("--method", "methods", multiple=True, default=[*OURS, *PEERS], show_default=True)
@click.option("--seeds", default="1,2,3", show_default=True)
@click.option("--budget", default=max(STOPS), show_default=True, help="Queries for training.")
@click.option("--dtype", default="bfloat16", show_default=True, help="Of the embedded model.")
def main(out: FilePath, boxes: Sequence[str], methods: Sequence[str], seeds: str, budget: int, dtype: str) -> None:
    """Searches all boxes with all methods and seeds that OUT lacks, and prints the table of losses."""
    wanted = [Cell(box, method, int(seed)) for box in boxes for seed in seeds.split(",") for method in methods]
    cells = [cell._asdict() for cell in wanted]
    click.echo(table(run_missing(out, cells, lambda cell: {"losses": searched(Cell(**cell), budget, dtype)})))


def searched(cell: Cell, budget: int, dtype: str) -> dict[str, float]:
    """The training losses (nats) at the start and after as many queries as the keys say."""
    settings = {"backend": {"name": "local-vit", "classifier": "mnist", "dtype": dtype}, **OURS.get(cell.method, {})}
    box = Box.parse(cell.box).opened(cell.seed, settings)
    path = PEERS[cell.method](box, budget, cell.seed) if cell.method in PEERS else ours(box, budget)
    stops = [stop for stop in (0, *STOPS) if stop <= budget]
    return {str(stop): box.loss([theta for spent, theta in path if spent <= stop][-1]) for stop in stops}


def ours(box: OpenBox, budget: int) -> Path:
    """The path of the run's own algorithm and optimizer, as far as whole rounds go within the budget."""
    algorithm, state = box.simulation.algorithm, box.simulation.algorithm.init()
    rounds = Rounds(lambda: algorithm, box.simulation.objective, box.simulation.clients)
    spent, path = 0, [(0, box.start)]
    while spent + sum(algorithm.expected_usage(one, state.round + 1).queries for one in rounds.sizes) <= budget:
        state, _ = rounds.round(state)
        spent += rounds.pool.usage.queries
        path.append((spent, state.parameters["prompt"].astype("float64")))
    return path


def table(rows: Iterable[Mapping[str, Any]]) -> str:
    """Mean losses ± standard deviations over the seeds, one line per box and method."""
    groups: dict[tuple[str, str], list[Mapping[str, float]]] = {}
    for row in rows:
        groups.setdefault((row["box"], row["method"]), []).append(row["losses"])
    stops = list(dict.fromkeys(stop for losses in groups.values() for one in losses for stop in one))
    lines = [f"| box | method | runs | {' | '.join(stops)} |", f"|{'---|' * (3 + len(stops))}"]
    for (box, method), losses in groups.items():
        cells = [_mean([one[stop] for one in losses if stop in one]) for stop in stops]
        lines.append(f"| {box} | {method} | {len(losses)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _mean(values: Sequence[float]) -> str:
    if not values:
        return ""
    return f"{statistics.fmean(values):.3f}" + (f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else "")


if __name__ == "__main__":
    main()
