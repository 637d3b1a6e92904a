"""`fedbbpt task`: examines a task's data before a model is queried."""

from pathlib import Path
from typing import Any

import click

from fedbbpt.commands.completion import components
from fedbbpt.commands.settings import KEYS
from fedbbpt.errors import ConfigError, DataError
from fedbbpt.printing import one_line, print_table


@click.group(short_help="Examine a task's data: describe.")
def task() -> None:
    """Examine a task's data before a model is queried."""


@task.command(short_help="Print what a task holds, and draw some of its images.")
@click.argument("name", shell_complete=components("tasks"))
@click.option("--text-column", help="Column of a table that holds the texts  [default: text].")
@click.option("--label-column", help="Column of a table that holds the classes  [default: label].")
@click.option("--clients", type=int, help="Number of clients  [default: 10, or what your own data can supply].")
@click.option("--shots-per-class", type=int, help="Training examples per class, over all clients  [default: 16].")
@click.option("--seed", type=int, help="Seed of the split among the clients  [default: 1].")
@click.option("-o", "overrides", multiple=True, metavar="KEY=VALUE", help="Any setting: -o task.group_column=user.")
@click.option("--sheet", type=click.Path(path_type=Path), help="Write some images of each class to this PNG file.")
def describe(name: str, sheet: Path | None, overrides: tuple[str, ...], **given: Any) -> None:
    """Print a task's origin, classes, split, clients and duplicates.

    NAME is what train --task takes: a name of fedbbpt list tasks, folder:PATH, csv:, jsonl: or parquet:PATH, or
    sites:FOLDER.
    """
    from fedbbpt.config import make_config
    from fedbbpt.config.components import build_task
    from fedbbpt.config.settings import override, parse_assignment
    from fedbbpt.data import describe as description
    from fedbbpt.run.client_data import make_client_data

    settings: dict[str, Any] = {"task": {"name": name}}
    values = [(KEYS[option], value) for option, value in given.items() if value is not None]
    for key, value in [*values, *map(parse_assignment, overrides)]:
        override(settings, key, value)
    config = make_config(settings)
    chosen = build_task(config.task)
    if sheet is not None and chosen.modality == "text":
        raise ConfigError(f"{name} holds texts: there are no images for a --sheet")
    tile = description.TILE
    data = chosen.load((tile, tile) if chosen.modality == "image" else None)
    found = description.describe(data, chosen.classes)
    for key, value in chosen.metadata.items():
        click.echo(f"{key:12}{one_line(value)}")
    for remark in chosen.remarks:
        click.echo(f"{'note':12}{one_line(remark)}")
    click.echo(f"{'examples':12}{len(data.train):,} for training, {len(data.test):,} for the test")
    for key, value in make_client_data(config, chosen, data).description:
        click.echo(f"{key:12}{value}")
    if data.train.domains is not None:
        click.echo(f"{'domains':12}{len(set(data.train.domains.tolist()))}, for data.partition=domain")
    duplicates = f"{found.duplicates['train']:,} within training, {found.duplicates['test']:,} within the test"
    click.echo(f"{'duplicates':12}{duplicates}, {found.leaked:,} of the test also in training")
    if found.conflicting:
        click.echo(f"{'conflicts':12}{found.conflicting:,} examples equal one of another class")
    click.echo()
    rows = [(label, f"{train:,}", f"{test:,}") for label, train, test in found.classes]
    print_table(rows, "class", "train", "test", right=["train", "test"], headed=True)
    if chosen.modality == "text":
        click.echo()
        print_table(description.samples(data.train, chosen.classes), "class", "text")
    if sheet is not None:
        try:
            description.contact_sheet(data.train, chosen.classes).save(sheet, "png")
        except OSError as e:
            raise DataError(f"cannot write {sheet}: {(e.strerror or str(e)).lower()}; give --sheet another path") from e
        click.echo(f"\n{'sheet':12}{sheet}")
