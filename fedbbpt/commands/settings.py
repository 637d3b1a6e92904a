"""The command-line options that make up a config."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from fedbbpt.commands.completion import components, one_of, presets
from fedbbpt.commands.options import options

LIMITS = ("max_queries", "max_requests", "max_cost")
COMPONENTS = ("backend", "task", "prompt", "readout", "optimizer", "algorithm", "engine")  # --X sets X.name
KEYS = {
    **{name: f"{name}.name" for name in COMPONENTS},
    **{"text_column": "task.text_column", "label_column": "task.label_column"},
    **{"clients": "data.clients", "shots_per_class": "data.shots_per_class"},
    **{"federation": "engine.federation", "min_sites": "engine.min_sites"},
    **{key: key for key in ("rounds", "seed", *LIMITS)},
}

limit_options = options(  # `limits_of` reads them
    click.option("--max-queries", type=int, help="Hard limit on queries, all of them."),
    click.option("--max-requests", type=int, help="Hard limit on requests."),
    click.option("--max-cost", type=float, help="Hard limit on the cost, in dollars."),
)


settings_options = options(  # those that make up a config; `settings_of` reads them
    click.option(
        "--config", type=click.Path(path_type=Path), help="TOML file of settings; the other options override it."
    ),
    click.option(
        "--preset",
        metavar="NAME",
        shell_complete=one_of(presets),
        help="Defaults: best, language-model, single-prompt or split; or a method: fed-bbpt, blackvip, dfedavg, "
        "dfedavgm, dfedsam or dfedsam-mgs  [default: what the other options imply].",
    ),
    click.option(
        "--backend",
        shell_complete=components("backends"),
        help="Model to query  [default: local-vit; hf-text for texts].",
    ),
    click.option(
        "--task",
        shell_complete=components("tasks"),
        help="Data: a name, folder:PATH, or csv:, jsonl: or parquet:PATH  [default: digits].",
    ),
    click.option("--text-column", help="Column of a table that holds the texts  [default: text]."),
    click.option("--label-column", help="Column of a table that holds the classes  [default: label]."),
    click.option(
        "--prompt",
        shell_complete=components("prompts"),
        help="Prompt to tune  [default: affine; for texts: instruction or none].",
    ),
    click.option(
        "--readout",
        shell_complete=components("readouts"),
        help="Readout: maps the model's scores to the task's classes  [default: linear].",
    ),
    click.option(
        "--optimizer",
        shell_complete=components("optimizers"),
        help="Zeroth-order optimizer  [default: random; spsa-gc for a single prompt].",
    ),
    click.option(
        "--algorithm",
        shell_complete=components("algorithms"),
        help="Federated algorithm  [default: ensemble; fedavg for a single prompt].",
    ),
    click.option(
        "--engine",
        shell_complete=components("engines"),
        help="Where clients run: serial, processes, or nvflare (sites)  [default: serial].",
    ),
    click.option("--federation", metavar="FOLDER", help="Train at the sites of this federation (engine nvflare)."),
    click.option("--min-sites", type=int, help="Stop if fewer sites of a federation answer  [default: 1]."),
    click.option("--clients", type=int, help="Number of clients  [default: 10, or what your own data can supply]."),
    click.option("--rounds", type=int, help="Number of rounds  [default: 7; language model: 3; split: 20]."),
    click.option("--shots-per-class", type=int, help="Training examples per class, over all clients  [default: 16]."),
    click.option("--seed", type=int, help="Random seed  [default: 1]."),
    limit_options,
    click.option("-o", "overrides", multiple=True, metavar="KEY=VALUE", help="Any setting: -o prompt.epsilon=0.2."),
)


def limits_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """The limits that were given, by their names in a config."""
    return {limit: given[limit] for limit in LIMITS if given[limit] is not None}


def settings_of(given: Mapping[str, Any], settings: dict[str, Any] | None = None) -> dict[str, Any]:
    """The settings that the command line gives, over those of --config, over `settings`.

    Args:
        given: the values of `settings_options` by parameter name.
        settings: nested settings to start from, such as those of a run that is resumed.
    """
    from fedbbpt.config.settings import override, parse_assignment, read_toml

    settings = dict(settings or {})
    if given["config"] is not None:
        settings |= read_toml(given["config"])
    if given["federation"] is not None and given["engine"] is None:
        override(settings, "engine.name", "nvflare")
    for option, key in KEYS.items():
        if given[option] is not None:
            override(settings, key, given[option])
    for assignment in given["overrides"]:
        override(settings, *parse_assignment(assignment))
    return settings
