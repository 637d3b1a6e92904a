"""Checkpoints: `round-000012.safetensors` with the server's arrays and `round-000012.json` with the rest.

The JSON is written last. It holds the checksums of the arrays, of the clients' files (`client_states`) and its own, and
thereby commits them all. The last two checkpoints stay on disk.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from pydantic import BaseModel, NonNegativeInt
from safetensors import SafetensorError

from fedbbpt.algorithms import ServerState
from fedbbpt.errors import RunError
from fedbbpt.run import client_states
from fedbbpt.run.atomic_files import checksum, write_atomic, writing
from fedbbpt.run.client_states import ClientFile, ClientFiles
from fedbbpt.run.metrics import Mark
from fedbbpt.run.records import read_record, to_record
from fedbbpt.types import Parameters

log = logging.getLogger("fedbbpt")
RETAINED = 2  # checkpoints


@dataclass(frozen=True)
class Totals:
    """The cost of a run so far."""

    queries: int = 0
    requests: int = 0
    tokens: int = 0
    unparsed: int = 0  # answers
    output_tokens: int = 0
    unanswered: int = 0  # queries
    bytes_up: int = 0
    bytes_down: int = 0
    exchanges: int = 0  # messages, each counted once for all clients
    seconds: float = 0.0


@dataclass(frozen=True)
class Best:
    """The best parameters so far, by the validation data."""

    round: int
    accuracy: float
    loss: float
    start_accuracy: float  # on the validation data, before the first round
    start_loss: float
    parameters: Parameters


@dataclass(frozen=True)
class Progress:
    """The content of a checkpoint."""

    state: ServerState
    best: Best
    totals: Totals
    metrics: Mark  # how far metrics.jsonl belongs to the rounds done
    config_sha256: str
    data_sha256: str
    clients: ClientFiles = field(default_factory=dict)


class _Best(BaseModel):
    """`Best` without its arrays."""

    round: NonNegativeInt
    accuracy: float
    loss: float
    start_accuracy: float
    start_loss: float


class _Record(BaseModel):
    """The content of the JSON file."""

    round: NonNegativeInt
    best: _Best
    totals: Totals
    metrics_size: NonNegativeInt
    metrics_sha256: str
    config_sha256: str
    data_sha256: str
    arrays_sha256: str
    clients: dict[str, ClientFile]


def save(folder: Path, progress: Progress) -> None:
    """Writes a checkpoint, and removes all but the last two."""
    stem = folder / f"round-{progress.state.round:06d}"
    state = progress.state
    parts = {"current": state.parameters, "best": progress.best.parameters, "opt_state": state.opt_state}
    arrays = safetensors.numpy.save(
        {k: v for prefix, part in parts.items() for k, v in _prefixed(prefix, part).items()}
    )
    record = {
        "round": state.round,
        "best": {key: getattr(progress.best, key) for key in _Best.model_fields},
        "totals": asdict(progress.totals),
        "metrics_size": progress.metrics.size,
        "metrics_sha256": progress.metrics.sha256,
        "config_sha256": progress.config_sha256,
        "data_sha256": progress.data_sha256,
        "arrays_sha256": checksum(arrays),
        "clients": {client: one.model_dump() for client, one in progress.clients.items()},
    }
    with writing(folder):
        folder.mkdir(exist_ok=True)
    write_atomic(stem.with_suffix(".safetensors"), arrays)
    write_atomic(stem.with_suffix(".json"), to_record(record))
    tidy(folder, state.round)


def tidy(folder: Path, last: int) -> None:
    """Removes incomplete checkpoints, those after the round `last`, and all but the last two of the others."""
    pairs = [path for path in _records(folder) if path.with_suffix(".safetensors").exists()]
    records = [path for path in pairs if _round(path) <= last]
    retained = {path.stem for path in records[-RETAINED:]}
    for file in [*folder.glob("round-*.json"), *folder.glob("round-*.safetensors")]:
        if file.stem not in retained:
            with writing(file):
                file.unlink()
    client_states.tidy(clients_of(folder), map(_client_files, _records(folder)))


def clients_of(folder: Path) -> Path:
    """The folder of the clients' files, given that of the checkpoints."""
    return folder.parent / "clients"


def load_last(
    folder: Path, lacks: Callable[[Progress], str] = lambda progress: ""
) -> tuple[Progress | None, list[str]]:
    """Loads the newest intact checkpoint, or None if there is none; also returns the names of newer, damaged ones.

    `lacks` returns the name of a file outside the folder that a checkpoint needs and that is damaged, if any; such a
    checkpoint counts as damaged.

    Raises:
        RunError: there are checkpoints, but none is intact.
    """
    damaged: list[str] = []
    records = _records(folder)
    for record in reversed(records):
        progress = _load(record)
        if progress is not None and not (lost := lacks(progress)):
            return progress, damaged
        damaged.append(record.stem if progress is None else f"{record.stem} (its {lost} has changed)")
    if _records(folder) != records:  # the run goes on meanwhile
        return load_last(folder, lacks)
    if damaged:
        raise RunError(
            f"every checkpoint in {folder} is damaged ({', '.join(damaged)}); restore what has changed from "
            "a backup, or start a new run with another --out"
        )
    return None, []


def load_best(run: Path) -> tuple[Progress, ServerState]:
    """The last checkpoint of a run's folder, and the parameters that the run kept so far; says what is damaged.

    Raises:
        RunError: there is no checkpoint, or none is whole.
    """
    progress, damaged = load_last(run / "checkpoints")
    for name in damaged:
        log.warning("checkpoint %s of %s is damaged; the one before is used", name, run)
    if progress is None:
        raise RunError(f"{run} has no checkpoint yet; train it with fedbbpt train --resume {run}")
    return progress, ServerState(progress.best.round, progress.best.parameters)


def last_round(folder: Path) -> int:
    """The last round with a checkpoint, intact or not; -1 without any."""
    return max(map(_round, _records(folder)), default=-1)


def _records(folder: Path) -> list[Path]:
    """The checkpoints' JSON files, oldest first."""
    return sorted((path for path in folder.glob("round-*.json") if path.stem[6:].isdecimal()), key=_round)


def _round(record: Path) -> int:
    return int(record.stem[6:])


def _client_files(path: Path) -> ClientFiles:
    try:
        return read_record(path, _Record).clients
    except RunError:
        return {}


def _load(path: Path) -> Progress | None:
    try:
        record = read_record(path, _Record)
        content = path.with_suffix(".safetensors").read_bytes()
        if checksum(content) != record.arrays_sha256 or record.round != _round(path):
            return None
        if not client_states.is_whole(clients_of(path.parent), record.clients):
            return None
        arrays = safetensors.numpy.load(content)
    except (OSError, RunError, SafetensorError):
        return None
    return Progress(
        state=ServerState(record.round, _part("current", arrays), _part("opt_state", arrays)),
        best=Best(**record.best.model_dump(), parameters=_part("best", arrays)),
        totals=record.totals,
        metrics=Mark(record.metrics_size, record.metrics_sha256),
        config_sha256=record.config_sha256,
        data_sha256=record.data_sha256,
        clients=record.clients,
    )


def _prefixed(prefix: str, parameters: Parameters) -> dict[str, Any]:
    return {f"{prefix}/{name}": np.ascontiguousarray(array) for name, array in parameters.items()}


def _part(prefix: str, arrays: Mapping[str, Any]) -> dict[str, Any]:
    return {name.partition("/")[2]: array for name, array in arrays.items() if name.startswith(prefix + "/")}
