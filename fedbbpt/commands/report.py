"""`fedbbpt report`: the page of a finished run, or one that compares several."""

from pathlib import Path

import click

from fedbbpt.commands import completion
from fedbbpt.errors import ConfigError


@click.command(short_help="Write a run's report again, or compare runs.")
@click.argument(
    "runs", nargs=-1, required=True, metavar="RUN...", shell_complete=completion.runs, type=click.Path(path_type=Path)
)
@click.option("--out", type=click.Path(path_type=Path), help="Page of a comparison  [default: comparison.html].")
def report(runs: tuple[Path, ...], out: Path | None) -> None:
    """Write the report of a finished run again, or compare several finished runs of one task with the first of them.

    One RUN: rewrites RUN/report.html. Several: writes a page with their results, learning curves and costs. Nothing is
    queried, and no data are opened.
    """
    if len(runs) == 1 and out is not None:
        raise ConfigError("--out is for a comparison of several runs; the report of one run is its report.html")
    if len(runs) == 1:
        page = _rewrite(runs[0])
    else:
        from fedbbpt.run.report.comparison import write_comparison

        page = write_comparison(runs, out or Path("comparison.html"))
    click.echo(f"{'report':15}{page}")


def _rewrite(run: Path) -> Path:
    from fedbbpt.run.finished import open_finished
    from fedbbpt.run.lock import folder_lock
    from fedbbpt.run.report.page import write_report
    from fedbbpt.run.resume import read_run

    read_run(run)  # no lock is made in a folder without a run
    with folder_lock(run):
        return write_report(run, *open_finished(run))
