"""What a federation costs, measured on this machine: `python -m fedbbpt_benchmarks.federation`.

It starts real federations on loopback, with TLS and each member in processes of its own, and measures

- exchanges, beside NVFlare's own in the same job;
- the default run with three sites, beside the same run of the engine `processes`;
- the rounds of several sites, beside a simulation from the pieces that were measured with one site;
- bytes and work of a round of each method, and from all of it a round with 10, 100 and 1,000 sites.

The images are dealt among four sites; a federation with fewer has the first ones, one with more has some twice. Each
part is kept in a file of the folder: a command that was stopped goes on with the next part.
"""

from functools import partial
from pathlib import Path

import click
from rich.console import Console

from fedbbpt.commands.errors import Program
from fedbbpt.run.atomic_files import write_json
from fedbbpt_benchmarks.federation.cores import Cores, measure_cores
from fedbbpt_benchmarks.federation.exchanges import METHODS, Rounds, record
from fedbbpt_benchmarks.federation.overhead import Overhead, measure_overhead
from fedbbpt_benchmarks.federation.parts import part
from fedbbpt_benchmarks.federation.results import Results
from fedbbpt_benchmarks.federation.sites import SitesMeasured, measure_sites, new_folder
from fedbbpt_benchmarks.federation.tables import tables

DEFAULT_RUN = 3  # sites of the run beside `processes`
MOST_SITES = 16
WIDTH = 160  # characters of a table


@click.command(cls=Program)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("runs/federation-costs"),
    show_default=True,
    help="Folder of all files.",
)
@click.option("--sites", default="1,2,3,4", show_default=True, help="Sizes of the federations; 1 is among them.")
@click.option(
    "--exchanges", type=click.IntRange(10), default=200, show_default=True, help="That are measured with each of them."
)
def main(out: Path, sites: str, exchanges: int) -> None:
    """Measures what a federation costs; writes federation.json, and prints its tables as Markdown."""
    sizes = sizes_of(sites)
    cores = part(out / "cores.json", Cores, measure_cores)
    methods = {method: part(out / f"{method}.json", Rounds, partial(_record, out, method)) for method in METHODS}
    federations = [
        part(out / f"sites-{size}.json", SitesMeasured, partial(_measure, out, size, exchanges)) for size in sizes
    ]
    overhead = part(out / "overhead.json", Overhead, partial(_compare, out))
    results = Results(federations, overhead, cores, methods)
    write_json(out / "federation.json", results.to_json())
    console = Console(width=WIDTH)
    for table in tables(results):
        console.print(table)


def sizes_of(text: str) -> list[int]:
    """The sizes of federations as an option has them, sorted.

    Raises:
        click.UsageError: they are no numbers, or 1 and a larger one are not among them.
    """
    try:
        sizes = sorted({int(size) for size in text.split(",")})
    except ValueError as e:
        raise click.UsageError(f"--sites takes numbers, separated by commas, such as 1,2,4; not {text!r}") from e
    if sizes[0] != 1 or len(sizes) == 1 or sizes[-1] > MOST_SITES:
        raise click.UsageError(f"--sites needs 1, from which the rest is computed, and others up to {MOST_SITES}")
    return sizes


def _record(out: Path, method: str) -> Rounds:
    return record(new_folder(out, method, 1), method)


def _measure(out: Path, sites: int, exchanges: int) -> SitesMeasured:
    return measure_sites(new_folder(out, f"sites-{sites}", sites), sites, exchanges, click.echo)


def _compare(out: Path) -> Overhead:
    return measure_overhead(new_folder(out, "overhead", DEFAULT_RUN), DEFAULT_RUN, click.echo)


if __name__ == "__main__":
    main()
