"""`fedbbpt bench`."""

import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from fedbbpt.commands.completion import folders_with, one_of
from fedbbpt.errors import ConfigError, RunError
from fedbbpt.printing import print_table

if TYPE_CHECKING:
    from fedbbpt_benchmarks.bench.plan import Bench

MANY = 100_000  # rounds


def _comma_separated(_: Any, __: Any, text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def _suites() -> Iterable[str]:
    from fedbbpt_benchmarks.bench.plan import SUITES

    return SUITES


def _methods() -> Iterable[str]:
    from fedbbpt_benchmarks.bench.plan import METHODS

    return METHODS


def _print_methods(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        from fedbbpt_benchmarks.bench.plan import METHODS

        rows = [(name, " ".join(one.modalities), one.access, one.title) for name, one in METHODS.items()]
        print_table(rows, "method", "modality", "access", "description", cut=True)
        context.exit()


def _tasks() -> Iterable[str]:
    from fedbbpt import registry

    return registry.names("tasks")


@click.command(short_help="Compare methods on many tasks.")
@click.option(
    "--suite", shell_complete=one_of(_suites), default="smoke", show_default=True, help="A set of tasks; see above."
)
@click.option(
    "--tasks",
    shell_complete=one_of(_tasks, ","),
    callback=_comma_separated,
    metavar="A,B",
    help="Tasks, in place of a suite's.",
)
@click.option(
    "--methods",
    shell_complete=one_of(_methods, ","),
    callback=_comma_separated,
    metavar="A,B",
    default="zero-shot,head,fed-bbpt,default",
    show_default=True,
    help="Methods; see above.",
)
@click.option("--seeds", callback=_comma_separated, metavar="1,2", default="1", show_default=True, help="Random seeds.")
@click.option("--limit", type=int, help="Maximum number of test examples per task.")
@click.option("--budget", type=int, help="Maximum number of queries per run.")
@click.option("--jobs", type=click.IntRange(1), default=1, show_default=True, help="Number of parallel runs.")
@click.option(
    "--against",
    shell_complete=one_of(_methods),
    metavar="A",
    help="Method to compare the others with  [default: zero-shot].",
)
@click.option(
    "-o", "overrides", multiple=True, metavar="KEY=VALUE", help="Any setting, as in train; a method's own settings win."
)
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the bench  [default: benches/SUITE-NNN].")
@click.option(
    "--resume",
    shell_complete=folders_with("bench.toml"),
    type=click.Path(path_type=Path),
    help="Resume the bench in this folder.",
)
@click.option(
    "--list", is_flag=True, is_eager=True, expose_value=False, callback=_print_methods, help="Print the methods."
)
@click.option("--publish", type=click.Path(path_type=Path), help="Also write PATH.md, .csv and .jsonl, without links.")
@click.pass_context
def bench(
    context: click.Context,
    jobs: int,
    against: str | None,
    out: Path | None,
    resume: Path | None,
    publish: Path | None,
    **given: Any,
) -> None:
    """Run tasks × methods × seeds, each an ordinary run, and write a leaderboard.

    Suites: smoke needs no download, offline no model hub; papers is from the Hugging Face hub; white-box is for methods
    that need gradients. Methods: those of --list, or OPTIMIZER+PROMPT.

    If a run fails, the others go on, and the exit code is 1. Finished runs are never repeated. Whenever the bench
    stops, and after each run, the leaderboard shows the finished runs.
    """
    from fedbbpt.run.atomic_files import new_folder
    from fedbbpt.run.run_folder import check_outside_data
    from fedbbpt_benchmarks.bench.plan import Bench

    if resume is not None:
        for name in ("out", *given):
            if context.get_parameter_source(name) is not ParameterSource.DEFAULT:
                option = "-o" if name == "overrides" else f"--{name}"
                raise ConfigError(f"--resume goes on in its own folder with its own settings: leave out {option}")
        plan = Bench.load(resume)
        _run(replace(plan, against=against or plan.against), resume, jobs, publish)
        return
    plan = _plan(**given, against=against or Bench.against)
    for cell in plan.cells:
        config = plan.config(cell)  # wrong settings are reported before anything runs
        check_outside_data(out or Path("benches"), config.task.name)
    with new_folder(out, Path("benches"), given["suite"]) as folder:
        _run(plan, folder, jobs, publish, new=True)


def _run(plan: "Bench", folder: Path, jobs: int, publish: Path | None, *, new: bool = False) -> None:
    """Brings a bench to its end, alone in its folder."""
    from fedbbpt.run.lock import folder_lock
    from fedbbpt_benchmarks.bench import leaderboard, results, runner
    from fedbbpt_benchmarks.bench.plan import PLAN
    from fedbbpt_benchmarks.bench.progress import BenchProgress

    with folder_lock(folder):
        if new:
            if (folder / PLAN).exists():
                raise RunError(
                    f"{folder} already holds a bench: continue it with --resume {folder}, or choose another --out"
                )
            plan.save(folder)
        stopped = False
        try:
            with _terminable(), BenchProgress(plan, folder) as table:
                runner.run(plan, folder, jobs, table)
        except KeyboardInterrupt:
            stopped = True
        finally:
            rows = results.collect(plan, folder)
            leaderboard.write(plan, folder, rows)
    if stopped:
        click.echo(f"\nStopped; nothing is lost. Continue with: fedbbpt bench --resume {folder}", err=True)
        raise SystemExit(130)
    if publish is not None:
        leaderboard.publish(plan, publish, rows)
    failed = [row for row in rows if row["error"] is not None]
    click.echo(f"{'leaderboard':15}{folder / 'leaderboard.html'}")
    if failed:
        raise RunError(
            f"{len(failed)} of {len(rows)} runs failed; {folder / 'leaderboard.md'} says why; --resume {folder} tries "
            "them again"
        )


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM stops what is inside as Ctrl-C does."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _plan(
    suite: str,
    tasks: tuple[str, ...] | None,
    methods: tuple[str, ...],
    seeds: tuple[str, ...],
    limit: int | None,
    budget: int | None,
    overrides: tuple[str, ...],
    against: str,
) -> "Bench":
    from fedbbpt.config.settings import override, parse_assignment
    from fedbbpt.errors import UnknownName
    from fedbbpt_benchmarks.bench.plan import SUITES, Bench

    if suite not in SUITES:
        raise UnknownName("suite", suite, SUITES)
    if not all(seed.isdecimal() for seed in seeds):
        raise ConfigError(f"--seeds wants numbers with commas between them, got {','.join(seeds)!r}")
    settings: dict[str, Any] = {}
    for assignment in overrides:
        override(settings, *parse_assignment(assignment))
    if limit is not None:
        override(settings, "data.test_limit", limit)
    if budget is not None:
        override(settings, "max_queries", budget)
        settings["rounds"] = MANY  # the budget is what ends a run
    return Bench(
        SUITES[suite] if tasks is None else tasks, methods, tuple(dict.fromkeys(map(int, seeds))), settings, against
    )
