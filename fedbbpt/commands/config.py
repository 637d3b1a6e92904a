"""`fedbbpt config`: the settings that a command would run with."""

from typing import Any

import click

from fedbbpt.commands.settings import settings_of, settings_options


@click.group(short_help="Print settings: show.")
def config() -> None:
    """Print the settings that a command would run with."""


@config.command(short_help="Print all settings that a command would run with.")
@settings_options
def show(**given: Any) -> None:
    """Print as TOML all settings that fedbbpt train would run with, given the same options.

    The output is a file for --config. Nothing is opened, fetched or asked, so options that the backend chooses when it
    is opened are printed as auto.
    """
    from fedbbpt.config import make_config

    click.echo(make_config(settings_of(given), given["preset"]).to_toml(), nl=False)
