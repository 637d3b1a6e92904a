"""`fedbbpt init` and `fedbbpt init-plugin`: files to start from, for a run and for a package of one's own."""

import sys
from pathlib import Path
from typing import Any

import click

from fedbbpt.commands.settings import KEYS, settings_of, settings_options
from fedbbpt.errors import ConfigError

EXAMPLES = {
    "images": "my own images, in a folder for each class",
    "texts": "my own texts, in a table (CSV, JSON Lines or Parquet)",
    "task": "a data set that fedbbpt list tasks names",
}
TABLES = {".csv": "csv", ".tsv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}
PLUGIN_KINDS = ("backend", "task", "prompt", "optimizer")


@click.command(short_help="Write a file of settings to start from.")
@settings_options
@click.option(
    "--out", type=click.Path(path_type=Path), default="fedbbpt.toml", show_default=True, help="The file; must be new."
)
def init(out: Path, **given: Any) -> None:
    """Write a file for fedbbpt train --config, with every setting, its meaning, type and default.

    Takes the options of fedbbpt train. Without any of them, asks a few questions on a terminal.
    """
    from fedbbpt.config.commented import commented_toml

    _refuse_existing(out)
    asked = any(given[name] is not None for name in ("config", "preset", *KEYS)) or given["overrides"]
    if not asked and _is_terminal():
        given |= _ask()
    text = commented_toml(settings_of(given), given["preset"], str(out))
    with out.open("x", encoding="utf-8") as file:
        file.write(text)
    click.echo(f"wrote {out}; edit it, and run: fedbbpt train --config {out} --dry-run")


def _is_terminal() -> bool:
    return sys.stdin.isatty()


def _ask() -> dict[str, Any]:
    """The answers, by the names of the options."""
    from fedbbpt import registry

    for name, meaning in EXAMPLES.items():
        click.echo(f"  {name:8}{meaning}")
    answers: dict[str, Any] = {}
    folder: Path
    table: Path
    kind = click.prompt("What are your examples?", type=click.Choice(list(EXAMPLES)), default="images")
    default = "local-vit"
    if kind == "images":
        folder = click.prompt("Folder of the images", type=click.Path(exists=True, file_okay=False, path_type=Path))
        answers["task"] = f"folder:{folder}"
    elif kind == "texts":
        default = "hf-text"
        table = click.prompt("Table of the texts", type=click.Path(exists=True, dir_okay=False, path_type=Path))
        answers["task"] = f"{TABLES.get(table.suffix.lower(), 'csv')}:{table}"
        answers["text_column"] = click.prompt("Column of the texts", default="text")
        answers["label_column"] = click.prompt("Column of the classes", default="label")
    else:
        answers["task"] = click.prompt("Task", type=click.Choice(registry.names("tasks")), show_choices=False)
        default = _default_backend(answers["task"])
    backend = click.prompt("Model to query", type=click.Choice(registry.names("backends")), default=default)
    if backend != default:
        answers["backend"] = backend
    if backend == "openai":
        answers["overrides"] = (f"backend.model={click.prompt('Name of the model')}",)
        answers["max_cost"] = click.prompt("Most dollars that a run may spend", type=click.FloatRange(0, min_open=True))
    elif backend == "http-json":
        answers["overrides"] = (f"backend.endpoint_file={click.prompt('File that describes the endpoint')}",)
    if clients := click.prompt("Clients (0: as many as the data can supply)", type=click.IntRange(0), default=0):
        answers["clients"] = clients
    if queries := click.prompt("Most queries of a run (0: no limit)", type=click.IntRange(0), default=0):
        answers["max_queries"] = queries
    return answers


def _default_backend(task: str) -> str:
    """The backend of a task unless another is chosen."""
    from fedbbpt.config import make_config

    return make_config({"task": {"name": task}}).backend.name


@click.command("init-plugin", short_help="Write a package for a component of your own.")
@click.argument("name")
@click.option(
    "--kind",
    "kinds",
    type=click.Choice(PLUGIN_KINDS),
    multiple=True,
    help="What the package adds; may be given several times  [default: all four].",
)
@click.option(
    "--dir", "folder", type=click.Path(path_type=Path), help="The package's folder; must be new  [default: NAME]."
)
def init_plugin(name: str, kinds: tuple[str, ...], folder: Path | None) -> None:
    """Write a small package with components of your own, and tests of their contracts that pass.

    After pip install, fedbbpt finds the components by NAME: fedbbpt train --prompt NAME.
    """
    from fedbbpt.plugin import write_plugin

    folder = folder or Path(name)
    _refuse_existing(folder)
    for path in write_plugin(name, [kind for kind in PLUGIN_KINDS if kind in kinds] or PLUGIN_KINDS, folder):
        click.echo(path)
    click.echo(f"next: pip install -e {folder} && pytest {folder}")


def _refuse_existing(path: Path) -> None:
    """Raises ConfigError if something has this name."""
    if path.exists() or path.is_symlink():
        raise ConfigError(f"{path} exists, and is not overwritten; choose another name")
