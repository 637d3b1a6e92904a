"""Loads a tuned model from the folder of a run, or from an exported one."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedbbpt.errors import RunError
from fedbbpt.tuned import canaries, exported
from fedbbpt.tuned.model import TunedModel
from fedbbpt.tuned.signing import verify
from fedbbpt.tuned.state import read_tuned_run


def load(
    folder: str | Path,
    *,
    options: Mapping[str, Any] | None = None,
    check: bool = True,
    key: str | Path | None = None,
    **limits: Any,
) -> TunedModel:
    """Loads what a run has learned, from its folder or from one that was exported.

    Example::

        model = fedbbpt.load("runs/digits-001", max_queries=1000)
        print(model.predict("seven.png"))

    Args:
        folder: of a run, or an exported one.
        options: of the model's backend, in place of those of training, such as `{"device": "cpu"}`.
        check: whether an exported model is asked about its canaries, 8 queries for each prompt.
        key: a public Ed25519 key (PEM), by whose private one an exported folder must be signed.
        limits: max_queries, max_requests and max_cost (dollars), for all that the loaded model asks.

    Raises:
        RunError: there is nothing in the folder that can be loaded, or its signature is not by the key.
        BackendError: the model cannot be opened, or no longer answers as it did when it was exported.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise RunError(f"no folder {folder}; name that of a run, such as runs/digits-001")
    if key is not None:
        verify(folder / exported.CONFIG, Path(key))
    if not exported.is_exported(folder):
        return TunedModel(read_tuned_run(folder), limits, options)
    model = TunedModel(exported.read_exported(folder, dict(options or {})), limits, options)
    if check:
        canaries.check(model, (folder / exported.CANARIES).read_bytes())
    return model
