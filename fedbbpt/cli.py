"""The command line: parse, call, print. Everything heavy is imported by the command that needs it."""

from collections.abc import Callable
from contextlib import nullcontext
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, cast

import click

import fedbbpt
from fedbbpt.commands.assets import assets
from fedbbpt.commands.cache import cache
from fedbbpt.commands.errors import Program, print_error
from fedbbpt.commands.serve import serve
from fedbbpt.commands.task import task
from fedbbpt.errors import ConfigError, DataError
from fedbbpt.printing import one_line, print_table
from fedbbpt.registry import KINDS

LIMITS = ("max_queries", "max_requests", "max_cost")
SETTINGS = ("backend", "task", "prompt", "readout", "optimizer", "algorithm")  # --X sets X.name


class Commands(Program, click.Group):
    """The group of our own commands and of those that installed packages register as entry points."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of our own commands, and of the entry points in the group `fedbbpt.commands`."""
        return sorted({*super().list_commands(ctx), *entry_points(group="fedbbpt.commands").names})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The entry point of that name, else our own command."""
        for entry in entry_points(group="fedbbpt.commands", name=cmd_name):
            return cast(click.Command, entry.load())
        return super().get_command(ctx, cmd_name)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(fedbbpt.__version__, prog_name="fedbbpt")
def main() -> None:
    """Federated black-box prompt tuning: clients improve a prompt for a model that they may only query."""


main.add_command(assets)
main.add_command(cache)
main.add_command(serve)
main.add_command(task)


def settings_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options that make up a config."""
    options = [
        click.option("--config", type=click.Path(path_type=Path), help="Settings in TOML; the options below win."),
        click.option("--backend", help="The model to be queried  [default: local-vit, or hf-text for texts]."),
        click.option("--task", help="The data: a name, folder:PATH, or csv:, jsonl:, parquet:PATH  [default: digits]."),
        click.option("--text-column", help="Of a table: the column of the texts  [default: text]."),
        click.option("--label-column", help="Of a table: the column of the classes  [default: label]."),
        click.option("--prompt", help="What is tuned  [default: colour; of texts: instruction or none]."),
        click.option("--readout", help="Scores to classes  [default: head]."),
        click.option("--optimizer", help="The zero-order method  [default: random; spsa-gc for one prompt]."),
        click.option("--algorithm", help="The federated method  [default: greedy; fedavg for one prompt]."),
        click.option("--clients", type=int, help="Number of clients  [default: 10, or what your data can feed]."),
        click.option("--rounds", type=int, help="Rounds  [default: 7; 20 for sfprompt, 3 for language models]."),
        click.option(
            "--shots-per-class", type=int, help="Training examples per class, over all clients  [default: 16]."
        ),
        click.option("--seed", type=int, help="Decides everything random  [default: 1]."),
        click.option("--max-queries", type=int, help="Never ask more than this, scores included."),
        click.option("--max-requests", type=int, help="Never send more requests than this."),
        click.option("--max-cost", type=float, help="Never spend more dollars than this."),
        click.option(
            "-o", "overrides", multiple=True, metavar="KEY=VALUE", help="Any setting, say -o prompt.epsilon=0.2."
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@main.command(short_help="Tune a prompt and score it.")
@settings_options
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the run  [default: runs/TASK-NNN].")
@click.option("--resume", type=click.Path(path_type=Path), help="Go on with the run in this folder.")
@click.option("--dry-run", is_flag=True, help="Print the exact number of queries and requests; ask nothing.")
def train(out: Path | None, resume: Path | None, dry_run: bool, **given: Any) -> None:
    """Tune a prompt with clients that hold private data, and score it.

    Known names: fedbbpt list prompts (backends, tasks, readouts, optimizers, algorithms, engines).
    """
    from fedbbpt.config import make_config
    from fedbbpt.run import train as runs
    from fedbbpt.run.atomic_files import new_folder
    from fedbbpt.run.progress import progress_reporter
    from fedbbpt.run.resume import update_addresses

    limits: dict[str, Any] = {}
    if resume is None:
        config = make_config(_settings({}, given))
    else:
        if out is not None or given["config"] is not None:
            raise ConfigError("--resume goes on in its own folder with its own settings: leave out --out and --config")
        config, limits = _resumed(resume, given)
    if dry_run:
        from fedbbpt.run.dry_run import plan_new_run, plan_resumed_run

        folder = out or Path("runs", "new")
        _print_plan(*(plan_new_run(config, folder) if resume is None else plan_resumed_run(resume, limits)))
        return
    if resume is not None:
        update_addresses(resume, config)
    place = nullcontext(resume) if resume else new_folder(out, Path("runs"), config.task.name.partition(":")[0])
    try:
        with place as folder, progress_reporter() as reporter:
            runs.resume(folder, reporter, limits) if resume is not None else runs.train(config, folder, reporter)
    except KeyboardInterrupt:
        if (folder / "config.toml").exists():
            click.echo(f"\nStopped; nothing is lost. Continue with: fedbbpt train --resume {folder}", err=True)
        else:
            click.echo("\nStopped before the first query.", err=True)
        raise SystemExit(130) from None
    click.echo(f"{'report':15}{folder / 'report.html'}")


@main.command("eval", short_help="Score a run on its test data once more.")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--task", help="Where the run's data are now, say folder:PATH  [default: where they were].")
def evaluate(folder: Path, task: str | None) -> None:
    """Score the parameters that a run kept on the test data, once more; writes evaluation.json."""
    from fedbbpt.run.again import reevaluate

    result = reevaluate(folder, task)
    rows = [(name, "no test data" if one is None else f"{one:.3f}") for name, one in result["clients"].items()]
    print_table(rows, "client", "accuracy", right=["accuracy"])
    for client, why in result["left_out"].items():
        click.echo(f"{client:15}left out: it {why}")
    cost = f"{result['queries']:,} queries in {result['requests']} requests"
    click.echo(f"{'test accuracy':15}{result['test_accuracy']:.3f}   ({cost})")
    for failing, what in (("unparsed", "answers name no class"), ("unanswered", "queries brought no scores")):
        if result[failing]:
            click.echo(f"{failing:15}{result[failing]:,} {what}")


@main.command(short_help="Classify pictures or texts with a run's prompt.")
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
def predict(folder: Path, files: tuple[Path, ...]) -> None:
    """Classify pictures, or files with a text each, as a run has learned to: FILE, class, probability, by tabs."""
    from fedbbpt.run.predict import Predictor
    from fedbbpt.services import Refused

    predictor = Predictor(folder)
    unreadable = 0
    for file in files:
        try:
            name, probability = predictor(file)
        except (DataError, Refused) as e:
            unreadable += 1
            print_error(e)
        else:
            click.echo("\t".join((one_line(str(file)), one_line(name), f"{probability:.3f}")))
    if unreadable:
        raise click.exceptions.Exit(1)


@main.command("list", short_help="Names that may be used.")
@click.argument("kind", type=click.Choice(KINDS))
def list_(kind: str) -> None:
    """Names that may be used, with one line about each."""
    from fedbbpt import registry

    summaries = ((name, (registry.load(kind, name).__doc__ or "").strip()) for name in registry.names(kind))
    print_table([(name, summary.partition("\n")[0]) for name, summary in summaries], "name", "what it is")


@main.command(short_help="Check the installation.")
def doctor() -> None:
    """Check what is installed and how fast the embedded model answers here."""
    from fedbbpt.doctor import examine

    healthy = True
    for name, fine, text in examine():
        click.echo(f"{'ok ' if fine else 'NO '} {name:14}{text}")
        healthy &= fine
    if not healthy:
        raise click.exceptions.Exit(1)


def _settings(settings: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """The settings with those of the command line on top."""
    from fedbbpt.config.settings import override, parse_assignment, read_toml

    if given["config"] is not None:
        settings |= read_toml(given["config"])
    names = {name: f"{name}.name" for name in SETTINGS}
    keys = names | {"text_column": "task.text_column", "label_column": "task.label_column"}
    keys |= {"clients": "data.clients", "shots_per_class": "data.shots_per_class"}
    keys |= {key: key for key in ("rounds", "seed", *LIMITS)}
    for option, key in keys.items():
        if given.get(option) is not None:
            override(settings, key, given[option])
    for assignment in given["overrides"]:
        override(settings, *parse_assignment(assignment))
    return settings


def _resumed(folder: Path, given: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The config with which the run in a folder goes on, and the limits that are no longer the config's."""
    from fedbbpt.config import make_config
    from fedbbpt.run.resume import check_settings_unchanged, read_run, with_known_task_path
    from fedbbpt.run.settings import load_run_settings

    ours, _ = read_run(folder)
    asked = with_known_task_path(make_config(_settings(load_run_settings(folder), given)), ours)
    before = {limit: getattr(ours, limit) for limit in LIMITS}
    limits = {limit: value for limit in LIMITS if (value := getattr(asked, limit)) != before[limit]}
    config = asked.model_copy(update=before)
    check_settings_unchanged(ours, config)
    return config, limits


def _print_plan(session: Any, planned: Any, notes: list[str]) -> None:
    from fedbbpt.run.budget import estimate_cost, setup_is_at_most
    from fedbbpt.run.formatting import format_cost
    from fedbbpt.run.plan import PURPOSES

    for name, text in session.data_description:
        click.echo(f"{name:15}{text}")
    bounds = {"training": not planned.exact, "preparing": setup_is_at_most(session)}
    bounds["total"] = any(bounds.values())
    for purpose in (*PURPOSES, "total"):
        usage = getattr(planned, purpose)
        if purpose == "preparing" and not usage.queries:
            continue
        at_most = " at most" if bounds.get(purpose) else ""
        click.echo(f"{purpose:15}{usage.queries:>10,} queries in {usage.requests:>6,} requests{at_most}")
    click.echo(f"{'rounds':15}{planned.rounds:>10,}")
    if (about := estimate_cost(session, planned)) is not None:
        source = f" ({about.prices})" if about.cost else ""
        click.echo(f"{'estimated':15}{about.tokens:>10,} tokens, {format_cost(about.cost)}{source}")
    for note in [*session.task.remarks, *notes]:
        click.echo(one_line(f"{'note':15}{note}"), err=True)
