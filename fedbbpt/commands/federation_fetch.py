"""`fedbbpt federation fetch`: at a site, what the server has handed out."""

from pathlib import Path

import click

from fedbbpt.printing import one_line


@click.command(short_help="At a site: take the result of a run.")
@click.argument("folder", metavar="KIT", type=click.Path(path_type=Path))
@click.argument("run", required=False)
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the result  [default: runs/NAME-NNN].")
def fetch(folder: Path, run: str | None, out: Path | None) -> None:
    """Copy the result of a RUN, which the server has handed out to this site, into a folder for fedbbpt predict.

    RUN is the run's name or the beginning of it; leave it out if the KIT holds a single result.
    """
    from fedbbpt.federation.kits import open_kit
    from fedbbpt.federation.results import copy_result, find_result
    from fedbbpt.run.atomic_files import new_folder

    kit = open_kit(folder, "site")
    result = find_result(kit, run)
    with new_folder(out, Path("runs"), kit.description.federation) as place:
        copy_result(kit, result, place)
    click.echo(f"Copied the result of run {result.parent.name} to {one_line(str(place))}; report.html in it shows it.")
    click.echo(f"Next: fedbbpt predict {one_line(str(place))} FILES…")
