"""The command line: parse, call, print. Each command imports what it needs when it runs, so that --help is fast."""

from importlib.metadata import entry_points
from pathlib import Path
from typing import cast

import click

import fedbbpt
from fedbbpt.commands.assets import assets
from fedbbpt.commands.cache import cache
from fedbbpt.commands.completion import completion, runs
from fedbbpt.commands.config import config
from fedbbpt.commands.errors import Program
from fedbbpt.commands.export import export
from fedbbpt.commands.federation import federation
from fedbbpt.commands.init import init, init_plugin
from fedbbpt.commands.list import list_
from fedbbpt.commands.predict import predict
from fedbbpt.commands.report import report
from fedbbpt.commands.serve import serve
from fedbbpt.commands.serve_body import serve_body
from fedbbpt.commands.task import task
from fedbbpt.commands.train import train
from fedbbpt.printing import print_table


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
    """Federated black-box prompt tuning: clients improve a prompt for a model that they may only query.

    Start with fedbbpt train: with the extra local installed, it needs no options and no download.
    """


COMMANDS = (
    *(assets, cache, completion, config, export, federation, init, init_plugin, list_),
    *(predict, report, serve, serve_body, task, train),
)
for command in COMMANDS:
    main.add_command(command)


@main.command("eval", short_help="Evaluate a run on its test data again.")
@click.argument("folder", shell_complete=runs, type=click.Path(path_type=Path))
@click.option("--task", help="Where the run's data are now: folder:PATH  [default: where they were].")
def evaluate(folder: Path, task: str | None) -> None:
    """Evaluate a run's best parameters on its test data again, and write evaluation.json."""
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


@main.command(short_help="Check the installation.")
def doctor() -> None:
    """Check what is installed and set, and how fast the embedded model answers on this machine.

    What is optional and not there is marked with a dash. Of keys, only whether they are set is shown.
    """
    from fedbbpt.doctor import run_checks

    healthy = True
    for check in run_checks():
        click.echo(f"{check.mark:4}{check.subject:18}{check.details}")
        healthy &= check.passed is not False
    if not healthy:
        raise click.exceptions.Exit(1)
