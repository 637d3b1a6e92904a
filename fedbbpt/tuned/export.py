"""Exports what a run has learned: a folder that others can load, with a card that says what it is."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.numpy

import fedbbpt
from fedbbpt.errors import ConfigError, RunError
from fedbbpt.run.atomic_files import checksum, write_atomic, writing
from fedbbpt.run.environment import Environment, read_environment, read_results
from fedbbpt.run.records import to_record
from fedbbpt.tuned import canaries, exported
from fedbbpt.tuned.card import write_card
from fedbbpt.tuned.model import TunedModel
from fedbbpt.tuned.signing import read_private_key, sign
from fedbbpt.tuned.state import TunedState, read_tuned_run

LICENSE = re.compile(r"[a-z0-9][a-z0-9.-]*")  # as the hub writes them


def export(
    run: Path,
    out: Path,
    *,
    limits: Mapping[str, Any] | None = None,
    license: str | None = None,
    with_examples: bool = False,
    key: Path | None = None,
) -> TunedModel:
    """Writes an exported model into a new folder; returns the model, which was asked about the canaries.

    Args:
        run: the folder of a finished run.
        out: the new folder.
        limits: max_queries, max_requests and max_cost, for the canaries.
        license: under which what was learned is handed on, as the hub writes it: apache-2.0, cc-by-4.0, other.
        with_examples: whether examples of the model's provider may be in it, where the backend shows them to the model.
        key: a private key, with which it is signed.

    Raises:
        RunError: the run is not finished, or the folder is not new, or examples would be handed on.
        ConfigError: the licence or the key cannot be used.
        BackendError: the model cannot be asked.
    """
    if license is not None and not LICENSE.fullmatch(license):
        raise ConfigError(f"a licence is written as on the hub, such as apache-2.0 or other, got {license!r}")
    private = None if key is None else read_private_key(key)
    with writing(out):
        if out.exists() and any(out.iterdir()):
            raise RunError(f"{out} is not empty; choose a new folder")
    state, environment = read_tuned_run(run), read_environment(run)
    summary, _ = read_results(run)
    _check_examples(state, run, with_examples)
    model = TunedModel(state, limits)
    files = {exported.ARRAYS: exported.write_arrays(state), exported.CANARIES: canaries.record(model)}
    config = _config(state, environment)
    files[exported.CARD] = write_card(state, config, summary, environment, license).encode()
    config = config.model_copy(update={"files": {name: checksum(content) for name, content in files.items()}})
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        write_atomic(out / name, content)
    write_atomic(out / exported.CONFIG, to_record(config.model_dump()))
    if private is not None:
        sign(out / exported.CONFIG, private)
    return model


def _check_examples(state: TunedState, run: Path, allowed: bool) -> None:
    """Raises RunError where the backend shows the model examples that would be handed on unasked."""
    shots = (
        [name for name in safetensors.numpy.load(state.provided) if name.startswith("shots/")] if state.provided else []
    )
    if shots and not allowed:
        raise RunError(
            f"the model of {run} is shown examples of its provider with every query, and whoever gets the folder could "
            "read them; hand them on with --with-examples"
        )


def _config(state: TunedState, environment: Environment) -> exported.ExportConfig:
    """What is said of the model; the files' checksums come last."""
    extra: Mapping[str, Any] = environment.backend.model_extra or {}
    backend, needs = exported.portable(state.backend, extra.get("resolved", {}))
    return exported.ExportConfig(
        format=exported.FORMAT,
        fedbbpt=fedbbpt.__version__,
        title=state.title,
        model=environment.backend.model,
        backend=backend,
        needs=needs,
        prompt=state.prompt.table,
        readout=state.readout.table,
        task=state.task.model_copy(update={"source": None}),
        text_column=state.text_column,
        files={},
    )
