"""`environment.json`: software, model and fingerprints of a run; no user, host or variable names."""

import importlib.metadata
import json
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, NonNegativeInt

import fedbbpt
from fedbbpt.errors import RunError
from fedbbpt.run.atomic_files import checksum, finite_or_none, reading, write_atomic
from fedbbpt.run.experiment import Experiment
from fedbbpt.run.metrics import read_metrics
from fedbbpt.run.records import read_record, to_record
from fedbbpt.run.saved_task import TaskInfo, task_info

PACKAGES = ("numpy", "scipy", "cma", "cmaes", "pillow", "safetensors", "scikit-learn", "torch", "transformers", "timm")
FILE, PROVIDER, SUMMARY, METRICS = "environment.json", "provider.safetensors", "summary.json", "metrics.jsonl"
TESTED = "clients/tested.safetensors"  # of simulations, see `run.tested`


class BackendRecord(BaseModel):
    """The backend's description of itself."""

    model_config = ConfigDict(extra="allow")
    model: str
    classes: list[str]


class Environment(BaseModel):
    """The fields that are read back; further ones are for people."""

    model_config = ConfigDict(extra="allow")
    fedbbpt: str
    python: str
    packages: dict[str, str | None]
    backend: BackendRecord
    run: str  # under which a service's ledger knows it
    setup: list[NonNegativeInt]  # the fields of `Usage`
    config_sha256: str
    data_sha256: str
    task: TaskInfo
    files: dict[str, str]  # name -> SHA-256; of a finished run also its results


def package_versions() -> dict[str, str | None]:
    """Versions of the packages that a result may depend on; None for those not installed."""
    found: dict[str, str | None] = {}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = None
    return found


def write_environment(out: Path, experiment: Experiment, run: str, config_sha256: str) -> None:
    """Writes what is known before the first query, and what the backend took from the provider."""
    files, counts = {}, experiment.algorithm.parameter_counts(experiment.config.rounds)
    if taken := experiment.provider.to_bytes() if experiment.provider else b"":
        write_atomic(out / PROVIDER, taken)
        files[PROVIDER] = checksum(taken)
    _write(
        out,
        {
            "fedbbpt": fedbbpt.__version__,
            "python": platform.python_version(),
            "system": f"{platform.system()} {platform.machine()}",
            "cores": os.cpu_count(),
            "packages": package_versions(),
            "backend": asdict(experiment.backend.info),
            **{f"{part}_parameters": count for part, count in counts.items()},
            "run": run,
            "setup": experiment.setup,
            "config_sha256": config_sha256,
            "data_sha256": experiment.data_sha256,
            "task": task_info(experiment.task).model_dump(),
            "files": files,
        },
    )


def add_result_checksums(out: Path) -> None:
    """Adds the checksums of the finished results."""
    known = read_environment(out).model_dump()
    results = [name for name in (SUMMARY, METRICS, TESTED) if (out / name).exists()]
    _write(out, known | {"files": known["files"] | {name: checksum((out / name).read_bytes()) for name in results}})


def read_environment(out: Path) -> Environment:
    """Reads `environment.json`.

    Raises:
        RunError: it is missing or damaged.
    """
    return read_record(out / FILE, Environment)


def read_provider_data(out: Path, environment: Environment) -> bytes:
    """Reads what the backend took from the task's provider (`RecordingProvider.to_bytes`).

    Raises:
        RunError: it is missing or damaged.
    """
    return read_verified(out, environment.files, PROVIDER) if PROVIDER in environment.files else b""


def read_results(out: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Reads the summary and the metrics of a finished run.

    Raises:
        RunError: the run is not finished, or they have changed since.
    """
    environment = read_environment(out)
    if not (environment.files.keys() >= {SUMMARY, METRICS} and (out / SUMMARY).exists()):
        raise RunError(f"{out} has no summary yet; finish the run with fedbbpt train --resume {out}")
    summary, _ = (read_verified(out, environment.files, name) for name in (SUMMARY, METRICS))
    return json.loads(summary), read_metrics(out / METRICS)


def read_verified(out: Path, files: Mapping[str, str], name: str) -> bytes:
    """Reads one of the `files` of a run, given by name with their SHA-256.

    Raises:
        RunError: it is missing or damaged.
    """
    with reading(out / name):
        content = (out / name).read_bytes()
    if checksum(content) != files[name]:
        raise RunError(
            f"{out / name} has changed since the run wrote it; restore it from a backup"
            + (f", or let fedbbpt train --resume {out} write it again" if name != PROVIDER else "")
        )
    return content


def _write(out: Path, values: dict[str, Any]) -> None:
    write_atomic(out / FILE, to_record(finite_or_none(values)))
