"""`fedbbpt figures`."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fedbbpt.errors import ConfigError, RunError

if TYPE_CHECKING:
    from fedbbpt_benchmarks.bench.plan import Cell


@click.command(short_help="Draw a run of SFPrompt beside other tunings.")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--clients", default="5,10,20,50,100", show_default=True, metavar="A,B", help="Numbers of clients.")
@click.option("--jobs", type=click.IntRange(1), default=1, show_default=True, help="Number of parallel runs.")
def figures(run: Path, clients: str, jobs: int) -> None:
    """Draw the finished run of --algorithm sfprompt in the folder RUN beside full fine-tuning and a linear classifier.

    The three are trained with each number of clients, in RUN/figures, and drawn into RUN/report.html with the clients'
    labels at α = .1 and the t-SNE of what the classifier reads. Finished runs are never repeated.
    """
    try:
        failed, runs = _draw(run, clients, jobs)
    except KeyboardInterrupt:
        more = ["--jobs", str(jobs)] if jobs > 1 else []
        again = shlex.join(["fedbbpt", "figures", str(run), "--clients", clients, *more])
        click.echo(f"\nStopped; nothing is lost. Continue with: {again}", err=True)
        raise SystemExit(130) from None
    click.echo(f"{'report':15}{run / 'report.html'}")
    if failed:
        raise RunError(f"{failed} of {runs} runs failed and are not drawn; the same command tries them again")


def _draw(run: Path, clients: str, jobs: int) -> tuple[int, int]:
    """Trains what is missing, and draws; how many runs failed, and of how many."""
    from fedbbpt.run.again import load_best, reopen
    from fedbbpt.run.atomic_files import write_json
    from fedbbpt.run.report.page import write_report
    from fedbbpt_benchmarks.bench import runner
    from fedbbpt_benchmarks.figures import draw, embedding
    from fedbbpt_benchmarks.figures.plan import beside, numbers

    plan = beside(run, numbers(clients))
    embedding.check_installed()
    experiment = reopen(run, None)
    _, state = load_best(run, experiment)
    examples = sum(client.train for client in experiment.client_sizes)
    tests = sum(client.test for client in experiment.client_sizes)
    if (most := max(plan.clients)) > examples:
        raise ConfigError(
            f"{most:,} clients cannot share the {examples:,} training examples of {run}; name fewer, say --clients 5,10"
        )
    if tests < embedding.FEWEST:
        raise ConfigError(f"{run} has {tests} test images, too few to draw; its figures need {embedding.FEWEST}")
    folder, failed = run / "figures", 0
    done = sum(runner.finished(folder, cell) for cell in plan.cells)
    click.echo(f"{len(plan.cells)} runs in {folder}" + (f", {done} done already" if done else ""))

    def on_done(cell: "Cell", error: str | None) -> None:
        nonlocal done, failed
        done, failed = done + (error is None), failed + (error is not None)
        accuracy = draw.summary(run, plan, cell)
        result = f"failed: {error}" if accuracy is None else f"{accuracy['test_accuracy']:.3f}"
        click.echo(f"{done + failed:>4}/{len(plan.cells)}  {cell}  {result}")

    runner.run(plan, folder, jobs, on_done)
    click.echo("drawing")
    write_json(run / "figures.json", draw.figures(run, plan, experiment, state))
    write_report(run, experiment, state)
    return failed, len(plan.cells)
