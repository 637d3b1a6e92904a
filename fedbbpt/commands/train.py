"""`fedbbpt train`: a new run, a resumed one, or what either would cost."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import click

from fedbbpt.commands.completion import runs
from fedbbpt.commands.federated_training import federation_of, train_at_sites
from fedbbpt.commands.settings import LIMITS, settings_of, settings_options
from fedbbpt.errors import ConfigError
from fedbbpt.printing import one_line


@click.command(short_help="Tune a prompt and evaluate it.")
@settings_options
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the run  [default: runs/TASK-NNN].")
@click.option("--resume", shell_complete=runs, type=click.Path(path_type=Path), help="Resume the run in this folder.")
@click.option(
    "--callback",
    "callbacks",
    multiple=True,
    metavar="NAME:TARGET",
    help="Log the run, too: tensorboard:DIR, mlflow:DIR or URI, wandb:PROJECT.",
)
@click.option("--dry-run", is_flag=True, help="Print the queries, the requests and the most exchanges; send none.")
def train(out: Path | None, resume: Path | None, callbacks: tuple[str, ...], dry_run: bool, **given: Any) -> None:
    """Tune a prompt with clients that hold private data, and evaluate it on their test data.

    The result is a folder with a report, report.html. All options have defaults. For the possible names, see fedbbpt
    list KIND; for the options of a component, fedbbpt list KIND NAME; for all settings, fedbbpt config show.
    """
    from fedbbpt.callbacks import open_callback
    from fedbbpt.config import make_config
    from fedbbpt.run import train as runs
    from fedbbpt.run.atomic_files import new_folder
    from fedbbpt.run.callback import Callbacks
    from fedbbpt.run.progress import progress_reporter
    from fedbbpt.run.resume import update_addresses
    from fedbbpt.run.settings import load_run_settings

    if resume is not None and (out is not None or given["config"] is not None or given["preset"] is not None):
        raise ConfigError(
            "--resume continues in the run's folder with the run's settings: leave out --out, --config and --preset"
        )
    settings = settings_of(given)
    if (federation := federation_of(load_run_settings(resume) if resume else settings)) is not None:
        if callbacks:
            raise ConfigError("--callback logs runs that train on this machine; leave it out with --federation")
        train_at_sites(federation, settings, given, out, resume, dry_run=dry_run)
        return
    limits: dict[str, Any] = {}
    if resume is None:
        config = make_config(settings, given["preset"])
    else:
        config, limits = _resumed(resume, given)
    if dry_run:
        from fedbbpt.run.dry_run import plan_new_run, plan_resumed_run

        folder = out or Path("runs", "new")
        _print_plan(*(plan_new_run(config, folder) if resume is None else plan_resumed_run(resume, limits)))
        return
    loggers = [open_callback(spec) for spec in callbacks]
    if resume is not None:
        update_addresses(resume, config)
    place = nullcontext(resume) if resume else new_folder(out, Path("runs"), config.task.name.partition(":")[0])
    try:
        with place as folder, progress_reporter() as reporter:
            told = Callbacks(reporter, *loggers)
            runs.resume(folder, told, limits) if resume is not None else runs.train(config, folder, told)
    except KeyboardInterrupt:
        if (folder / "config.toml").exists():
            click.echo(f"\nStopped; nothing is lost. Continue with: fedbbpt train --resume {folder}", err=True)
        else:
            click.echo("\nStopped before the first query.", err=True)
        raise SystemExit(130) from None
    click.echo(f"{'report':15}{folder / 'report.html'}")


def _resumed(folder: Path, given: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The config of the run in a folder, and the limits that were changed for this continuation."""
    from fedbbpt.config import make_config
    from fedbbpt.run.resume import check_settings_unchanged, read_run, with_known_task_path

    ours, _ = read_run(folder)
    asked = with_known_task_path(make_config(settings_of(given, ours.to_settings())), ours)
    before = {limit: getattr(ours, limit) for limit in LIMITS}
    limits = {limit: value for limit in LIMITS if (value := getattr(asked, limit)) != before[limit]}
    config = asked.model_copy(update=before)
    check_settings_unchanged(ours, config)
    return config, limits


def _print_plan(experiment: Any, planned: Any, notes: list[str]) -> None:
    from fedbbpt.run.budget import estimate_cost, setup_is_at_most
    from fedbbpt.run.formatting import format_cost

    for name, text in experiment.data_description:
        click.echo(f"{name:15}{text}")
    bounds = {"training": not planned.exact, "setup": setup_is_at_most(experiment)}
    bounds["total"] = any(bounds.values())
    for purpose, usage in (planned.by_purpose | {"total": planned.total}).items():
        if purpose == "setup" and not usage.queries:
            continue
        at_most = " at most" if bounds.get(purpose) else ""
        click.echo(f"{purpose:15}{usage.queries:>10,} queries in {usage.requests:>6,} requests{at_most}")
    click.echo(f"{'exchanges':15}{planned.most_exchanges:>10,} at most")
    click.echo(f"{'rounds':15}{planned.rounds:>10,}")
    if (about := estimate_cost(experiment, planned)) is not None:
        source = f" ({about.prices})" if about.cost else ""
        click.echo(f"{'estimated':15}{about.tokens:>10,} tokens, {format_cost(about.cost)}{source}")
    for note in [*experiment.task.remarks, *notes]:
        click.echo(one_line(f"{'note':15}{note}"), err=True)
