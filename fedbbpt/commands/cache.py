"""`fedbbpt cache`: stored answers of services, which were paid for."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from fedbbpt.printing import print_table

if TYPE_CHECKING:
    from fedbbpt.services.answer_cache import AnswerCache


@click.group(short_help="Stored answers of services.")
def cache() -> None:
    """Answers of services, stored on this machine so that none is paid for twice."""


@cache.command(short_help="Show what is stored.")
def info() -> None:
    """Print the number of stored answers of each model, and what they cost."""
    from fedbbpt.services.prices import NANODOLLARS

    answers = _cache()
    click.echo(answers.path)
    rows = [
        (name, f"{count:,} answers", f"{tokens:,} tokens", f"{output_tokens:,} output", f"${cost / NANODOLLARS:.4f}")
        for name, count, tokens, output_tokens, cost in answers.statistics()
    ]
    columns = "answers", "tokens", "of them", "cost"
    print_table(rows, "model", *columns, right=columns)


@cache.command(short_help="Write all answers to a file.")
@click.argument("file", type=click.Path(path_type=Path))
def export(file: Path) -> None:
    """Write all answers to a file, one per line, as JSON: model, key, scores, tokens. The inputs are not stored."""
    from fedbbpt.run.atomic_files import to_json, write_atomic

    rows = [
        {"model": name, "key": key.hex(), "scores": answer.scores.tolist(), "tokens": answer.tokens}
        for name, key, answer in _cache().export()
    ]
    write_atomic(file, b"".join(to_json(row) + b"\n" for row in rows))
    click.echo(f"{len(rows):,} answers in {file}")


@cache.command(short_help="Delete answers.")
@click.option("--model", help="Only those of this model.")
@click.option("--refused", is_flag=True, help="Only of inputs that the service refused, or answered without scores.")
@click.confirmation_option(prompt="They will have to be paid for again. Delete them?")
def clear(model: str | None, refused: bool) -> None:
    """Delete answers. What runs have spent stays in the ledger, so that their budgets hold."""
    click.echo(f"{_cache().clear(model, refused):,} answers deleted")


def _cache() -> "AnswerCache":
    from fedbbpt.services.client import default_cache

    return default_cache()
