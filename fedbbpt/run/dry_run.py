"""Dry runs: plans a run, or reports what is wrong with it, without queries, downloads or writes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedbbpt.config import Config
from fedbbpt.dry_run import dry_run_mode
from fedbbpt.run import budget, train
from fedbbpt.run.again import reopen
from fedbbpt.run.atomic_files import check_writable
from fedbbpt.run.opening import check_payable
from fedbbpt.run.query_budget import QueryPlan
from fedbbpt.run.resume import read_run
from fedbbpt.run.run_folder import check_new_run_folder
from fedbbpt.run.simulation import Simulation

DryRun = tuple[Simulation, QueryPlan, list[str]]  # also what the run itself will still need


def plan_new_run(config: Config, out: Path) -> DryRun:
    """Plans a new run; raises what `train.train` would raise before its first query."""
    check_writable(out)
    check_new_run_folder(out, config)
    with dry_run_mode() as notes:
        _, experiment, planned = train.ready(config)
    return experiment, planned, notes


def plan_resumed_run(out: Path, limits: Mapping[str, Any]) -> DryRun:
    """Plans the rest of a run; raises what `train.resume` would raise before its first query."""
    config, environment = read_run(out)
    with dry_run_mode() as notes:
        experiment = reopen(out, None)
        check_payable(experiment.backend, budget.resumed_account(environment.run, config, limits))
        planned, _, damaged = train.ready_again(out, experiment, limits)
    return experiment, planned, [*notes, *(f"checkpoint {name} is damaged" for name in damaged)]
