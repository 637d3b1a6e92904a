"""`fedbbpt task`: a look at the data before anything is asked of a model."""

from pathlib import Path

import click

from fedbbpt.errors import ConfigError, DataError
from fedbbpt.printing import one_line


@click.group(short_help="Look at a task's data: inspect.")
def task() -> None:
    """Look at a task's data before anything is asked of a model."""


@task.command(short_help="Print what a task holds, and draw some of it.")
@click.argument("name")
@click.option("--text-column", help="Of a table: the column of the texts  [default: text].")
@click.option("--label-column", help="Of a table: the column of the classes  [default: label].")
@click.option("--sheet", type=click.Path(path_type=Path), help="Write a picture of some examples of each class (PNG).")
def inspect(name: str, text_column: str | None, label_column: str | None, sheet: Path | None) -> None:
    """Print the classes of a task with their counts, what is twice in it, and what is known of its origin.

    NAME is what train --task takes: a name of fedbbpt list tasks, folder:PATH, or csv:, jsonl: or parquet:PATH.
    """
    from fedbbpt.data import remarks
    from fedbbpt.data.inspection import SIDE, contact_sheet, samples
    from fedbbpt.data.inspection import inspect as examine
    from fedbbpt.run.options import load_class, resolve

    columns = {"text_column": text_column, "label_column": label_column}
    options = resolve("tasks", name, {key: column for key, column in columns.items() if column})
    chosen = load_class("tasks", name)(name.partition(":")[2] or None, **options)
    if sheet is not None and chosen.modality == "text":
        raise ConfigError(f"{name} holds texts: there are no pictures for a --sheet")
    pool = chosen.load((SIDE, SIDE) if chosen.modality == "image" else None)
    found = examine(pool, chosen.classes)
    for key, value in chosen.about.items():
        click.echo(f"{key:12}{one_line(value)}")
    for remark in remarks(chosen):
        click.echo(f"{'note':12}{one_line(remark)}")
    click.echo(f"{'examples':12}{len(pool.train):,} for training, {len(pool.test):,} for the test")
    if pool.train.domains is not None:
        click.echo(f"{'domains':12}{len(set(pool.train.domains.tolist()))}, for data.partition=domain")
    repeated = f"{found.repeated['train']:,} within training, {found.repeated['test']:,} within the test"
    click.echo(f"{'duplicates':12}{repeated}, {found.shared:,} of the test also in training")
    width = max(len(one_line(name)) for name in chosen.classes) + 2
    click.echo(f"\n{'class':{width}}{'train':>8}{'test':>8}")
    for label, train, test in found.classes:
        click.echo(f"{one_line(label):{width}}{train:8,}{test:8,}")
    if chosen.modality == "text":
        click.echo()
        for label, text in samples(pool.train, chosen.classes):
            click.echo(f"{one_line(label):{width}}{one_line(text)}")
    if sheet is not None:
        try:
            contact_sheet(pool.train, chosen.classes).save(sheet, "png")
        except OSError as e:
            raise DataError(f"cannot write {sheet}: {(e.strerror or str(e)).lower()}; give --sheet another path") from e
        click.echo(f"\n{'sheet':12}{sheet}")
