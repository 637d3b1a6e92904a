"""Error by rounds beside a theorem's terms: `python -m fedbbpt_benchmarks.experiments.consensus_rates FOLDER`.

Sixteen nodes take five local steps a round, with and without sharpness-aware gradients, and average once, twice or four
times with their neighbours: on quadratics with noisy gradients, and on a softmax regression by the algorithm `gossip`.
Every finished curve is a line of FOLDER/consensus-rates.jsonl, so that a command that was stopped goes on. Then the
picture is drawn, and the table printed, from that file alone. All of it takes about a minute.
"""

import json
import math
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import click

from fedbbpt.commands.errors import Program
from fedbbpt.run.atomic_files import write_atomic
from fedbbpt_benchmarks.bench.results import write_rows
from fedbbpt_benchmarks.experiments.consensus_rates import quadratic, softmax
from fedbbpt_benchmarks.experiments.consensus_rates.chart import draw
from fedbbpt_benchmarks.experiments.consensus_rates.curves import WAYS, Curve, of_topology

PROBLEMS = {"quadratic": quadratic.curve, "softmax": softmax.curve}


@click.command(cls=Program)
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False, exists=True))
def main(folder: Path) -> None:
    """Measures what FOLDER/consensus-rates.jsonl lacks, draws an SVG beside it, and prints the table."""
    file = folder / "consensus-rates.jsonl"
    curves = read(file)
    done = {(curve.problem, curve.way) for curve in curves}
    for problem, way in product(PROBLEMS, WAYS):
        if (problem, way) not in done:
            curves.append(PROBLEMS[problem](way))
            write_rows(file, [curve.to_row() for curve in curves])
    write_atomic(folder / "consensus-rates.svg", draw(curves).encode())
    click.echo(table(curves))


def read(file: Path) -> list[Curve]:
    """The curves of a file; none if there is no file."""
    lines = file.read_text("utf-8").splitlines() if file.exists() else []
    return [Curve.from_row(json.loads(line)) for line in lines]


def table(curves: Sequence[Curve]) -> str:
    """The last point of every curve, as Markdown; errors in thousandths."""
    ends = {(curve.problem, curve.way): curve.points[-1] for curve in curves}
    lines = [
        "| topology | Q | $\\lambda^Q$ | gradient | topology's part | falls as | nodes apart "
        "| loss | with SAM | nodes apart | with SAM |",
        f"|{'---|' * 11}",
    ]
    for way in (way for way in WAYS if not way.sharpness_aware):
        end, plain = ends["quadratic", way], ends["softmax", way]
        sharp = ends["softmax", way._replace(sharpness_aware=True)]
        *_, before, last = of_topology(curves, "quadratic", way)
        part = [f"{1e3 * last[1]:.3f}", f"$T^{{{exponent(before, last):.2f}}}$"] if last[1] else ["", ""]
        cells = [way.topology, f"{way.gossip_steps}", f"{way.mixed:.3f}", f"{1e3 * end.gradient:.2f}", *part]
        cells += [f"{end.consensus_distance:.4f}"]
        cells += [f"{1e3 * one.excess:.2f}" for one in (plain, sharp)]
        cells += [f"{one.consensus_distance:.3f}" for one in (plain, sharp)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def exponent(before: tuple[int, float], after: tuple[int, float]) -> float:
    """p, where values between two numbers of rounds go as Tᵖ."""
    return math.log(after[1] / before[1]) / math.log(after[0] / before[0])


if __name__ == "__main__":
    main()
