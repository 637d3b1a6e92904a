"""`fedbbpt predict`: classifies images or texts with what a run has learned."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fedbbpt.commands.completion import runs
from fedbbpt.commands.errors import print_error
from fedbbpt.commands.tuned import load_tuned, loading_options

if TYPE_CHECKING:
    from fedbbpt.tuned.predictions import Format


@click.command(short_help="Classify images or texts with a run's prompt.")
@click.argument("folder", metavar="RUN", shell_complete=runs, type=click.Path(path_type=Path))
@click.argument("inputs", nargs=-1, required=True)
@click.option("--text-column", help="Column of tables that holds the texts  [default: that of the run's own table].")
@click.option(
    "--output",
    "form",
    type=click.Choice(["tsv", "csv", "jsonl"]),
    default="tsv",
    show_default=True,
    help="tsv: input, class, probability; csv, jsonl: with the probabilities of all classes.",
)
@click.option("--out", type=click.Path(path_type=Path), help="Write to this file; what is stopped goes on from there.")
@loading_options
@click.option(
    "-o",
    "assignments",
    multiple=True,
    metavar="KEY=VALUE",
    help="Option of the model's backend, such as -o device=cpu.",
)
def predict(
    folder: Path,
    inputs: tuple[str, ...],
    text_column: str | None,
    form: "Format",
    out: Path | None,
    assignments: tuple[str, ...],
    **given: Any,
) -> None:
    """Classify images or texts with what a run has learned. RUN is its folder, or one that was exported.

    INPUTS are files; folders, with all pictures or text files in them; patterns, such as 'scans/**/*.png'; tables of
    texts (.csv, .tsv, .jsonl, .parquet); or - for standard input, with a text, or the path of a picture, in each line.
    """
    from fedbbpt.errors import ConfigError
    from fedbbpt.tuned.predictions import Failed, Formatter, Journal, Prediction, predict
    from fedbbpt.tuned.sources import find

    model = load_tuned(folder, assignments, given)
    texts = model.backend.info.input_size is None
    if text_column is not None and not texts:
        raise ConfigError(f"{folder} reads images; leave out --text-column, which is for tables of texts")
    found = find(inputs, text_column or model.state.text_column, texts, sys.stdin, _note)
    formatter, failed = Formatter(form, model.classes), 0
    journal = Journal(out, model.state.sha256) if out is not None else None
    left = [one for one in found if journal is None or one.name not in journal.answers]
    if journal is None and formatter.head:
        click.echo(formatter.head, nl=False)
    for batch in _with_bar(predict(model, left), len(found), len(found) - len(left)):
        answered = [one for one in batch if isinstance(one, Prediction)]
        if journal is not None:
            journal.add(answered)
        for one in batch:
            if isinstance(one, Failed):
                failed += 1
                print_error(one.error)
            elif journal is None:
                click.echo(formatter.line(one), nl=False)
    if (bill := model.billed) is not None:
        _note(f"billed: {bill.queries:,} queries in {bill.requests:,} requests, {bill.tokens:,} tokens")
    if failed:
        if journal is not None:
            _note(f"{failed:,} inputs have no answer; {out} is written once all have one: try again, or leave them out")
        raise click.exceptions.Exit(1)
    if journal is not None:
        journal.finish(found, formatter)


def _note(text: str) -> None:
    """Prints a remark on standard error."""
    from fedbbpt.printing import one_line

    click.echo(one_line(text), err=True)


def _with_bar(batches: Iterator[list[Any]], total: int, done: int) -> Iterator[list[Any]]:
    """The batches, with a bar on standard error where that is a terminal."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(file=sys.stderr)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("predicting", total=total, completed=done)
        for batch in batches:
            progress.advance(task, len(batch))
            yield batch
