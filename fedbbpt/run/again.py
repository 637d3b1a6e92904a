"""Opens an existing run again, and scores it again."""

from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from fedbbpt.algorithms import ServerState
from fedbbpt.config.components import resolve
from fedbbpt.errors import DataError, RunError
from fedbbpt.run import budget, checkpoint
from fedbbpt.run.atomic_files import write_json
from fedbbpt.run.checkpoint import Progress
from fedbbpt.run.environment import read_provider_data
from fedbbpt.run.evaluate import Result, evaluate
from fedbbpt.run.experiment import Experiment
from fedbbpt.run.lock import folder_lock
from fedbbpt.run.model import prepared
from fedbbpt.run.resume import check_classes_unchanged, check_unchanged, read_run
from fedbbpt.run.simulation import Simulation, open_simulation
from fedbbpt.types import Usage


def reopen(out: Path, limits: Mapping[str, Any] | None, task: str | None = None) -> Simulation:
    """Opens the experiment of a run's folder.

    Args:
        out: the run's folder.
        limits: replace the config's; None if no queries will be made, so that a service is not contacted.
        task: the same data at another path.

    Raises:
        RunError: there is no run, or config or data have changed since it began.
    """
    config, environment = read_run(out)
    moved = config
    if task is not None:
        if (kind := config.task.name.partition(":")[0]) != task.partition(":")[0]:
            raise RunError(f"the data of {out} are a {kind!r}; say where they are now with --task {kind}:PATH")
        moved = config.model_copy(update={"task": resolve("tasks", task, config.task.options)})
    try:
        experiment = open_simulation(moved, read_provider_data(out, environment))
    except DataError as e:
        raise RunError(
            f"the data of {out} cannot be used as they were: {e} (if they have moved, move them "
            f"back, or score the run with fedbbpt eval {out} --task KIND:PATH)"
        ) from e
    experiment = replace(experiment, setup=Usage(*environment.setup))
    if task is not None:
        experiment = replace(experiment, config=experiment.config.model_copy(update={"task": config.task}))
    if limits is not None:
        experiment = prepared(experiment, budget.resumed_account(environment.run, config, limits))
    check_classes_unchanged(experiment, environment, out)
    check_unchanged(experiment, environment, out)
    return experiment


def load_best(out: Path, experiment: Experiment) -> tuple[Progress, ServerState]:
    """Loads a run's last checkpoint, and its best state so far."""
    progress, best = checkpoint.load_best(out)
    check_unchanged(experiment, progress, out)
    return progress, best


def reevaluate(out: Path, task: str | None = None) -> dict[str, Any]:
    """Scores the best parameters on the test data again, and writes `evaluation.json`; `task` as in `reopen`.

    Raises:
        RunError: there is no run, or config or data have changed since it began.
    """
    read_run(out)
    with folder_lock(out):
        experiment = reopen(out, {}, task)
        progress, best = load_best(out, experiment)
        clients = experiment.open_clients(checkpoint.clients_of(out / "checkpoints"))
        with closing(clients.engine) as engine:
            clients.restore(progress.state.round, progress.clients)
            result = evaluate(experiment.algorithm, best, experiment.client_sizes, "test", engine)
        return _scored(out, result)


def _scored(out: Path, result: Result) -> dict[str, Any]:
    facts = {
        "test_accuracy": result.accuracy,
        "test_loss": result.loss,
        **result.usage._asdict(),
        "left_out": dict(result.pool.unusable),
        "clients": {score.client: score.accuracy for score in result.scores},
        "confusion": result.confusion.tolist(),
    }
    write_json(out / "evaluation.json", facts)
    return facts
