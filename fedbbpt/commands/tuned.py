"""How commands load a tuned model: the options that say how, and what they mean."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fedbbpt.commands.options import options
from fedbbpt.commands.settings import limit_options, limits_of

if TYPE_CHECKING:
    from fedbbpt.tuned.model import TunedModel


loading_options = options(  # `load_tuned` reads them
    limit_options,
    click.option("--key", type=click.Path(path_type=Path), help="Public Ed25519 key (PEM) that must have signed RUN."),
    click.option("--no-check", is_flag=True, help="Do not ask an exported model about its canaries first."),
)


def load_tuned(folder: Path, assignments: Iterable[str], given: Mapping[str, Any]) -> "TunedModel":
    """Loads the tuned model in a folder.

    Args:
        folder: of a run, or an exported one.
        assignments: options of the backend, each as KEY=VALUE.
        given: the values of `loading_options` by parameter name.
    """
    from fedbbpt.config.settings import parse_assignment
    from fedbbpt.tuned.loading import load

    options = dict(map(parse_assignment, assignments))
    return load(folder, options=options, check=not given["no_check"], key=given["key"], **limits_of(given))
