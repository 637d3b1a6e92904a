"""`fedbbpt federation demo`: a federation on this machine alone, in one command."""

from pathlib import Path
from shlex import quote

import click

MAX_SITES = 20


@click.command(short_help="A federation on this machine alone, in one command.")
@click.option("--sites", type=click.IntRange(1, MAX_SITES), default=3, show_default=True, help="Number of sites.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for all of it  [default: runs/demo-NNN].")
@click.option("--topology", metavar="NAME", help="Without a server: who talks to whom, such as ring or complete.")
@click.option("--served", is_flag=True, help="All sites ask one served model; else each loads the model itself.")
def demo(sites: int, out: Path | None, topology: str | None, served: bool) -> None:
    """Train with a server and sites on this machine, each in processes of its own, on real images.

    The images are the handwritten digits of UCI; each is at one site. All processes end with the command. With
    --topology, parameters go from site to site, and no server sees them in the rounds.
    """
    from fedbbpt.errors import ConfigError
    from fedbbpt.federation.demo import run_demo
    from fedbbpt.run.atomic_files import new_folder

    if out is not None and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"{out} is not empty; choose another --out")
    with new_folder(out, Path("runs"), "demo") as folder:
        try:
            commands = run_demo(folder, sites, click.echo, topology=topology, served=served)
        except KeyboardInterrupt:
            click.echo(f"\nStopped; all processes have ended. {folder} holds what there is.", err=True)
            raise SystemExit(130) from None
    place = quote(str(folder))
    click.echo("Next: a site takes the result and uses it:")
    click.echo(f"  fedbbpt federation fetch {place}/federation/sites/site-1 --out {place}/fetched")
    click.echo(f"  fedbbpt predict {place}/fetched {place}/data/site-1/3/*.png")
    click.echo("or all of it again by hand, each in a terminal of its own:")
    for command in commands:
        click.echo(f"  {command}")
