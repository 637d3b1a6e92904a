"""The run: rounds of a federated algorithm over an experiment, with nothing lost whenever it stops."""

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
from fedbbpt.run.callback import Callback
from fedbbpt.run.checkpoint import Progress
from fedbbpt.run.environment import write_environment
from fedbbpt.run.lock import folder_lock
from fedbbpt.run.loop import TrainingLoop
from fedbbpt.run.metrics import count_rows, is_intact
from fedbbpt.run.model import prepared
from fedbbpt.run.opening import check_payable
from fedbbpt.run.query_budget import QueryPlan, plan_queries
from fedbbpt.run.resume import check_unchanged, config_sha256, read_run, setting_changed_error
from fedbbpt.run.run_folder import check_new_run_folder
from fedbbpt.run.setup import Experiment, open_experiment
from fedbbpt.services.ledger import Account

NO_CALLBACK = Callback()


def train(config: Config, out: Path, callback: Callback = NO_CALLBACK) -> dict[str, Any]:
    """Trains from the start into a new folder; returns the summary.

    Raises:
        RunError: the folder holds a run already, or cannot be written.
    """
    with folder_lock(out):
        check_new_run_folder(out, config)
        account, experiment, planned = ready(config)
        experiment = prepared(experiment, account)
        if experiment.backend.service_client is not None:  # which now knows what that took
            experiment = replace(experiment, setup=experiment.backend.setup_usage)
            planned = plan_queries(experiment)
        write_environment(out, experiment, account.run, config_sha256(experiment.config))
        write_atomic(out / "config.toml", experiment.config.to_toml().encode())
        return TrainingLoop(experiment, planned, out, callback, planned.setup.queries).run(None)


def resume(
    out: Path, callback: Callback = NO_CALLBACK, limits: Mapping[str, Any] = MappingProxyType({})
) -> dict[str, Any]:
    """Goes on where the folder's last checkpoint is; the end is the same as that of an undisturbed run.

    Where a service is paid, `limits` (max_queries, max_requests, max_cost) take the place of the config's from now on,
    and do not change how many rounds there are.

    Raises:
        RunError: no run there, no whole checkpoint, or config or data have changed since.
    """
    read_run(out)  # before a lock is made where no run is
    with folder_lock(out):
        experiment = reopen(out, limits)
        planned, progress, damaged = ready_again(out, experiment, limits)
        for name in damaged:
            callback.on_message(f"checkpoint {name} is damaged; going on from the one before")
        checkpoints = out / "checkpoints"
        for folder in (out, checkpoints):
            remove_temporaries(folder)
        checkpoint.tidy(checkpoints, progress.state.round if progress else -1)
        asked = progress.totals.queries if progress else planned.setup.queries
        return TrainingLoop(experiment, planned, out, callback, asked).run(progress)


def ready(config: Config) -> tuple[Account, Experiment, QueryPlan]:
    """A new run, after all that may be wrong with it before its first query; a dry run ends here."""
    account, experiment = budget.new_account(config), open_experiment(config)
    planned = plan_queries(experiment)
    check_payable(experiment.backend, account)
    return account, experiment, planned


def ready_again(
    out: Path, experiment: Experiment, limits: Mapping[str, Any]
) -> tuple[QueryPlan, Progress | None, list[str]]:
    """What a run will have asked in the end, where it stands, and its damaged checkpoints, if it may go on."""
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
