"""Checkpoints: `round-000012.safetensors` with the arrays and `round-000012.json` with the rest.

The JSON is written last and holds the arrays' SHA-256, so it commits the pair; the last two pairs are kept.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from fedbbpt.algorithms import State
from fedbbpt.errors import RunError
from fedbbpt.run.files import write_atomic, writing
from fedbbpt.types import Parameters

KEPT = 2


@dataclass(frozen=True)
class Totals:
    """What the run has cost so far."""

    queries: int = 0
    calls: int = 0
    tokens: int = 0
    unmatched: int = 0  # answers
    written: int = 0  # tokens
    unanswered: int = 0  # queries
    bytes_up: int = 0
    bytes_down: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Best:
    """The parameters to be kept, as the validation data have it so far."""

    round: int
    accuracy: float
    loss: float
    start: float  # the loss before the first round
    parameters: Parameters


@dataclass(frozen=True)
class Progress:
    """Everything that a resumed run needs to know."""

    state: State
    best: Best
    totals: Totals
    metrics_size: int  # bytes of metrics.jsonl that belong to the rounds done
    config_sha256: str
    data_sha256: str


def save(folder: Path, progress: Progress) -> None:
    """Writes a checkpoint and removes those before the last two."""
    stem = folder / f"round-{progress.state.round:06d}"
    state = progress.state
    parts = {"current": state.parameters, "best": progress.best.parameters, "memory": state.memory}
    arrays = safetensors.numpy.save(
        {k: v for prefix, part in parts.items() for k, v in _prefixed(prefix, part).items()}
    )
    best = {key: value for key, value in asdict(progress.best).items() if key != "parameters"}
    record = {
        "round": progress.state.round,
        "best": best,
        "totals": asdict(progress.totals),
        "metrics_size": progress.metrics_size,
        "config_sha256": progress.config_sha256,
        "data_sha256": progress.data_sha256,
        "arrays_sha256": hashlib.sha256(arrays).hexdigest(),
    }
    write_atomic(stem.with_suffix(".safetensors"), arrays)
    write_atomic(stem.with_suffix(".json"), json.dumps(record, indent=1).encode())
    with writing(folder):
        for old in _records(folder)[:-KEPT]:
            old.unlink()
            old.with_suffix(".safetensors").unlink(missing_ok=True)


def load_last(folder: Path) -> tuple[Progress | None, list[str]]:
    """The newest whole checkpoint (None if none was ever written), and the names of damaged ones that it passed over.

    Raises:
        RunError: there are checkpoints, but none is whole.
    """
    damaged: list[str] = []
    for record in reversed(_records(folder)):
        progress = _load(record)
        if progress is not None:
            return progress, damaged
        damaged.append(record.stem)
    if damaged:
        raise RunError(
            f"every checkpoint in {folder} is damaged ({', '.join(damaged)}); restore one from a backup, "
            "or start a new run with another --out"
        )
    return None, []


def load_best(run: Path) -> tuple[Progress, State]:
    """The last checkpoint of a run's folder, and the parameters that the run kept so far.

    Raises:
        RunError: there is no checkpoint, or none is whole.
    """
    progress, _ = load_last(run / "checkpoints")
    if progress is None:
        raise RunError(f"{run} has no checkpoint yet; train it with fedbbpt train --resume {run}")
    return progress, State(progress.best.round, progress.best.parameters)


def _records(folder: Path) -> list[Path]:
    """The checkpoints' JSON files, oldest first."""
    return sorted(folder.glob("round-[0-9]*.json"), key=lambda path: (len(path.name), path.name))


def _load(record: Path) -> Progress | None:
    try:
        data = json.loads(record.read_bytes())
        arrays_bytes = record.with_suffix(".safetensors").read_bytes()
        if hashlib.sha256(arrays_bytes).hexdigest() != data["arrays_sha256"]:
            return None
        arrays = safetensors.numpy.load(arrays_bytes)
        return Progress(
            state=State(data["round"], _part("current", arrays), _part("memory", arrays)),
            best=Best(**data["best"], parameters=_part("best", arrays)),
            totals=Totals(**data["totals"]),
            metrics_size=data["metrics_size"],
            config_sha256=data["config_sha256"],
            data_sha256=data["data_sha256"],
        )
    except (OSError, ValueError, KeyError, TypeError, SafetensorError):
        return None


def _prefixed(prefix: str, parameters: Parameters) -> dict[str, Any]:
    return {f"{prefix}/{name}": np.ascontiguousarray(array) for name, array in parameters.items()}


def _part(prefix: str, arrays: Mapping[str, Any]) -> dict[str, Any]:
    return {name.partition("/")[2]: array for name, array in arrays.items() if name.startswith(prefix + "/")}
