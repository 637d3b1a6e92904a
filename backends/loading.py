"""Loading models of Hugging Face and timm: errors in one sentence, offline dry runs, checks of config and weights."""

import inspect
import json
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import huggingface_hub
import torch
import torch.hub
from huggingface_hub.errors import LocalEntryNotFoundError
from torch import Tensor

from fedbbpt.dry_run import NotFetched, is_dry_run
from fedbbpt.errors import BackendError, FedbbptError
from fedbbpt_backends.torchvision_compat import ensure_importable

MAX_REASON = 300  # characters quoted of a library's error
TOLERANCE = 1e-4  # between two outputs for one input, relative to the largest absolute value
NO_REMOTE_CODE = {"trust_remote_code": False}  # a model's own code is never run, and the user is not asked


@contextmanager
def loading(name: str, offline: str) -> Iterator[None]:
    """A context for loading the model `name`: turns every error into one sentence.

    In a dry run, nothing is fetched. `offline` names the models that work without a hub, for the error's advice.

    Raises:
        BackendError: the model cannot be loaded.
        NotFetched: in a dry run, the model would have to be fetched.
    """
    ensure_importable()
    import transformers

    huggingface_hub.logging.set_verbosity_error()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    try:
        with _offline() if is_dry_run() else nullcontext():
            yield
    except (FedbbptError, ModuleNotFoundError, MemoryError):
        raise
    except Exception as e:  # libraries raise anything, above all for damaged files
        if is_dry_run() and _wants_network(e):
            source, _, rest = name.partition(":")
            how = f"fetch it with hf download {rest}" if source == "hf" else "a run fetches it by itself"
            raise NotFetched(name, how) from e
        hint = "" if name.startswith("dir:") else f". Without a hub, {offline} work"
        raise BackendError(f"cannot load {name}: {short_reason(e)}{hint}") from e


def short_reason(error: Exception) -> str:
    """The first line of an error's message that says something, shortened to `MAX_REASON` characters."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    said = " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]
    return said.rstrip(".") if len(said) <= MAX_REASON else f"{said[:MAX_REASON]} …"


@contextmanager
def _offline() -> Iterator[None]:
    """Files on this machine load as usual; every access to the network raises ConnectionError."""

    def refuse(*_: object, **__: object) -> None:
        raise ConnectionError("nothing is fetched")

    hub: Any = torch.hub
    before = huggingface_hub.constants.HF_HUB_OFFLINE, hub.urlopen
    huggingface_hub.constants.HF_HUB_OFFLINE, hub.urlopen = True, refuse
    try:
        yield
    finally:
        huggingface_hub.constants.HF_HUB_OFFLINE, hub.urlopen = before


def _wants_network(error: BaseException | None) -> bool:
    """Whether an error was caused by `_offline`."""
    while error is not None and not isinstance(error, ConnectionError | LocalEntryNotFoundError):
        error = error.__cause__ or error.__context__
    return error is not None


def check_config(folder: str) -> None:
    """Raises BackendError unless the folder has a valid config.json in Hugging Face's layout."""
    file = Path(folder) / "config.json"
    if not file.is_file():
        raise BackendError(
            f"{folder} has no config.json; model=dir:PATH needs weights and config as Hugging Face saves them"
        )
    try:
        config = json.loads(file.read_bytes())
    except ValueError as e:
        raise BackendError(f"{file} is not JSON ({short_reason(e)}); fetch or save the model again") from e
    if not isinstance(config, dict) or not config.keys() & {"model_type", "pretrained_cfg"}:
        raise BackendError(
            f"{file} has no model_type, which names the kind of model; save the model again with transformers"
        )
    labels = config.get("id2label") or {}
    if not isinstance(labels, dict) or not all(key.strip().isdecimal() for key in labels):
        raise BackendError(f'{file}: id2label must name the outputs by number, as {{"0": "cat", "1": "dog"}}')


def accepts_argument(config: Any, argument: str) -> bool:
    """Whether the forward method of the config's model has this parameter: `pixel_values`, `input_ids`, …"""
    import transformers

    known = transformers.MODEL_MAPPING.get(type(config), None)
    kind = known[0] if isinstance(known, tuple) else known
    return kind is not None and argument in inspect.signature(kind.forward).parameters


def load_pretrained(
    name: str, kind: Any, source: str, unused: tuple[str, ...] = (), **options: Any
) -> tuple[Any, Set[str]]:
    """Loads a network in float32 and evaluation mode; also returns the names of missing weights.

    Only weights whose names start with one of `unused` may be missing.

    Raises:
        BackendError: other weights are missing, or weights have another shape than the config says.
    """
    net, report = kind.from_pretrained(
        source, dtype=torch.float32, output_loading_info=True, ignore_mismatched_sizes=True, **NO_REMOTE_CODE, **options
    )
    other = sorted(key if isinstance(key, str) else key[0] for key in report["mismatched_keys"])
    if other:
        raise BackendError(f"{name}: {len(other)} of its weights do not match its config, among them {other[0]}")
    missing = set(report["missing_keys"])
    if lacking := sorted(key for key in missing if not key.startswith(unused or "\0")):
        raise BackendError(f"{name} lacks {len(lacking)} of its weights, among them {lacking[0]}")
    return net.eval(), missing


def class_names(name: str, config: Any) -> tuple[str, ...]:
    """The names of a classifier's outputs, in order. A name that occurs twice gets its number appended.

    Raises:
        BackendError: `id2label` does not number the outputs from 0 on.
    """
    names: dict[int, Any] = config.id2label or dict.fromkeys(range(config.num_labels))
    if sorted(names) != list(range(len(names))):
        raise BackendError(
            f"{name}: id2label in its config.json names the outputs {_few(sorted(names))}, but the "
            f"{len(names)} outputs are numbered from 0 to {len(names) - 1}; give each of these a name"
        )
    ordered = [f"LABEL_{i}" if names[i] is None else str(names[i]) for i in range(len(names))]
    return tuple(one if ordered.count(one) == 1 else f"{one} ({i})" for i, one in enumerate(ordered))


def check_deterministic(name: str, ask: Callable[[], Tensor]) -> Tensor:
    """Calls `ask` twice and returns the first result.

    Raises:
        BackendError: the results differ, or are not finite.
    """
    with torch.inference_mode():
        first, second = ask().float(), ask().float()
    if not first.isfinite().all():
        raise BackendError(f"{name} outputs numbers that are not finite; its weights or its config are damaged")
    if first.shape != second.shape or (first - second).abs().max() > TOLERANCE * first.abs().max():
        raise BackendError(
            f"{name} gives another output each time for the same input; a model with randomness cannot be used"
        )
    return first


def _few(numbers: list[int]) -> str:
    shown = ", ".join(map(str, numbers[:3]))
    return shown if len(numbers) <= 3 else f"{shown}, … {numbers[-1]}"
