"""`fedbbpt cache`: the answers of services that were paid for."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from fedbbpt.printing import print_table

if TYPE_CHECKING:
    from fedbbpt.services.answer_cache import AnswerCache


@click.group(short_help="Answers of services that were paid for.")
def cache() -> None:
    """Answers of services that were paid for: each is kept, so that nothing is paid twice."""


@cache.command(short_help="What is kept.")
def info() -> None:
    """Print how many answers are kept of each model, and what they took."""
    from fedbbpt.services.prices import NANODOLLARS

    store = _store()
    click.echo(store.path)
    rows = [
        (name, f"{answers:,} answers", f"{tokens:,} tokens", f"{output_tokens:,} output", f"${cost / NANODOLLARS:.4f}")
        for name, answers, tokens, output_tokens, cost in store.statistics()
    ]
    token_count = "answers", "tokens", "of them", "cost"
    print_table(rows, "model", *token_count, right=token_count)


@cache.command(short_help="Write all answers to a file.")
@click.argument("file", type=click.Path(path_type=Path))
def export(file: Path) -> None:
    """Write all answers to a file, one a line, as JSON: model, key, scores, tokens. The inputs are not kept."""
    from fedbbpt.run.atomic_files import to_json, write_atomic

    rows = [
        {"model": name, "key": key.hex(), "scores": reply.scores.tolist(), "tokens": reply.tokens}
        for name, key, reply in _store().export()
    ]
    write_atomic(file, b"".join(to_json(row) + b"\n" for row in rows))
    click.echo(f"{len(rows):,} answers in {file}")


@cache.command(short_help="Forget answers.")
@click.option("--model", help="Only those of this model.")
@click.option("--refused", is_flag=True, help="Only inputs that were refused, or answered without scores.")
@click.confirmation_option(prompt="They will have to be paid for again. Forget them?")
def clear(model: str | None, refused: bool) -> None:
    """Forget the answers. What runs have spent stays in the book, so that their limits hold."""
    click.echo(f"{_store().clear(model, refused):,} answers forgotten")


def _store() -> "AnswerCache":
    from fedbbpt.services.client import default_cache

    return default_cache()
