"""Starts and resumes runs; a run that is stopped at any time can be resumed."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from fedbbpt.config import Config
from fedbbpt.errors import RunError
from fedbbpt.run import budget, checkpoint
from fedbbpt.run.again import reopen
from fedbbpt.run.atomic_files import remove_temporaries, write_atomic
from fedbbpt.run.callback import Callback, closed_at_the_end
from fedbbpt.run.checkpoint import Progress
from fedbbpt.run.environment import write_environment
from fedbbpt.run.experiment import Experiment
from fedbbpt.run.lock import folder_lock
from fedbbpt.run.loop import TrainingLoop
from fedbbpt.run.metrics import count_rows, is_intact
from fedbbpt.run.model import prepared
from fedbbpt.run.opening import check_payable
from fedbbpt.run.query_budget import QueryPlan, plan_queries
from fedbbpt.run.resume import check_unchanged, config_sha256, read_run, setting_changed_error
from fedbbpt.run.run_folder import check_new_run_folder
from fedbbpt.run.simulation import Simulation, open_simulation
from fedbbpt.services.ledger import Account

NO_CALLBACK = Callback()


def train(config: Config, out: Path, callback: Callback = NO_CALLBACK) -> dict[str, Any]:
    """Trains a new run in a simulation; returns the summary. The callback is closed at the end.

    Raises:
        RunError: the folder already holds a run, or cannot be written.
    """
    with closed_at_the_end(callback), folder_lock(out):
        check_new_run_folder(out, config)
        account, simulation, planned = ready(config)
        simulation = prepared(simulation, account)
        if simulation.backend.service_client is not None:  # which now knows the usage of its setup
            simulation = replace(simulation, setup=simulation.backend.setup_usage)
            planned = plan_queries(simulation)
        return begin(simulation, planned, account.run, out, callback)


def resume(
    out: Path, callback: Callback = NO_CALLBACK, limits: Mapping[str, Any] = MappingProxyType({})
) -> dict[str, Any]:
    """Continues from the folder's last checkpoint, to the same result as an uninterrupted run; returns the summary.

    The callback is closed at the end.

    For paid services, `limits` (max_queries, max_requests, max_cost) replace those of the config from now on; they do
    not change the number of rounds.

    Raises:
        RunError: there is no run or no intact checkpoint, or config or data have changed.
    """
    read_run(out)  # no lock is made in a folder without a run
    with closed_at_the_end(callback), folder_lock(out):
        return go_on(reopen(out, limits), out, callback, limits)


def begin(experiment: Experiment, planned: QueryPlan, run: str, out: Path, callback: Callback) -> dict[str, Any]:
    """Trains an experiment that is ready, from the start, in a locked folder; `run` is the run's name in ledgers."""
    write_environment(out, experiment, run, config_sha256(experiment.config))
    write_atomic(out / "config.toml", experiment.config.to_toml().encode())
    return TrainingLoop(experiment, planned, out, callback, planned.setup.queries).run(None)


def go_on(
    experiment: Experiment, out: Path, callback: Callback, limits: Mapping[str, Any] = MappingProxyType({})
) -> dict[str, Any]:
    """Continues the run of a locked folder with its experiment, reopened."""
    planned, progress, damaged = ready_again(out, experiment, limits)
    for name in damaged:
        callback.on_message(f"checkpoint {name} is damaged; going on from the one before")
    checkpoints = out / "checkpoints"
    for folder in (out, checkpoints):
        remove_temporaries(folder)
    checkpoint.tidy(checkpoints, progress.state.round if progress else -1)
    queries = progress.totals.queries if progress else planned.setup.queries
    return TrainingLoop(experiment, planned, out, callback, queries).run(progress)


def ready(config: Config) -> tuple[Account, Simulation, QueryPlan]:
    """Opens a new run's account and simulation, plans its queries, and checks that it can start."""
    account, simulation = budget.new_account(config), open_simulation(config)
    planned = plan_queries(simulation)
    check_payable(simulation.backend, account)
    return account, simulation, planned


def ready_again(
    out: Path, experiment: Experiment, limits: Mapping[str, Any]
) -> tuple[QueryPlan, Progress | None, list[str]]:
    """The plan of a resumed run, its last intact checkpoint and the names of damaged ones; checks that it can go on."""
    for limit, value in limits.items():
        if experiment.backend.service_client is None and value != (ours := getattr(experiment.config, limit)):
            raise setting_changed_error(limit, ours, value)
    metrics = out / "metrics.jsonl"
    progress, damaged = checkpoint.load_last(
        out / "checkpoints", lambda progress: "" if is_intact(metrics, progress.metrics) else metrics.name
    )
    planned = plan_queries(experiment)
    if progress is not None:
        check_unchanged(experiment, progress, out)
    elif count_rows(metrics) > 1:
        raise RunError(f"{out} has lost its checkpoints; restore them from a backup, or start a new run")
    return planned, progress, damaged
