"""What loading a model of Hugging Face or timm takes, whatever it reads."""

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

LONGEST = 300  # letters of a library's reason that a sentence quotes
STEADY = 1e-4  # two answers to one question differ by less, relative to the largest number in them
SAFE = {"trust_remote_code": False}  # code that comes with a model is never run, and nobody is asked whether to


@contextmanager
def loading(name: str, offline: str) -> Iterator[None]:
    """Around everything that loads the model `name`; `offline` says what works without a hub.

    Raises:
        BackendError: it cannot be loaded, in one sentence that says what to do.
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
    except Exception as e:  # libraries and damaged files fail in every way; to the user it is one sentence
        if is_dry_run() and _wants_network(e):
            source, _, rest = name.partition(":")
            how = f"fetch it with hf download {rest}" if source == "hf" else "a run fetches it by itself"
            raise NotFetched(name, how) from e
        hint = "" if name.startswith("dir:") else f". Without a hub, {offline} work"
        raise BackendError(f"cannot load {name}: {reason(e)}{hint}") from e


def reason(error: Exception) -> str:
    """What went wrong, from the first line that says it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    said = " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]
    return said.rstrip(".") if len(said) <= LONGEST else f"{said[:LONGEST]} …"


@contextmanager
def _offline() -> Iterator[None]:
    """What is on this machine is loaded as ever; whatever asks a network raises."""

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
    """Whether an error, or what it comes from, is that nothing may be asked for."""
    while error is not None and not isinstance(error, ConnectionError | LocalEntryNotFoundError):
        error = error.__cause__ or error.__context__
    return error is not None


def check_config(folder: str) -> None:
    """Raises BackendError where a folder is no model in Hugging Face's layout."""
    file = Path(folder) / "config.json"
    if not file.is_file():
        raise BackendError(
            f"no config.json in {folder}; model=dir:PATH wants weights and config as Hugging Face saves them"
        )
    try:
        config = json.loads(file.read_bytes())
    except ValueError as e:
        raise BackendError(f"{file} is not JSON ({reason(e)}); fetch or save the model again") from e
    if not isinstance(config, dict) or not config.keys() & {"model_type", "pretrained_cfg"}:
        raise BackendError(f"{file} has no model_type, so that nobody knows which model it describes")
    labels = config.get("id2label") or {}
    if not isinstance(labels, dict) or not all(key.strip().isdecimal() for key in labels):
        raise BackendError(f'{file}: id2label has to name the outputs by their numbers, as {{"0": "cat", "1": "dog"}}')


def reads(config: Any, argument: str) -> bool:
    """Whether the model of a config takes such an argument: `pixel_values`, `input_ids`, …"""
    import transformers

    known = transformers.MODEL_MAPPING.get(type(config), None)
    kind = known[0] if isinstance(known, tuple) else known
    return kind is not None and argument in inspect.signature(kind.forward).parameters


def pretrained(name: str, kind: Any, source: str, unused: tuple[str, ...] = (), **options: Any) -> tuple[Any, Set[str]]:
    """The network in float32 and evaluation mode, and which weights it lacks: only some that begin like `unused`.

    Raises:
        BackendError: its weights are not those that its config speaks of.
    """
    net, report = kind.from_pretrained(
        source, dtype=torch.float32, output_loading_info=True, ignore_mismatched_sizes=True, **SAFE, **options
    )
    other = sorted(key if isinstance(key, str) else key[0] for key in report["mismatched_keys"])
    if other:
        raise BackendError(f"{name}: {len(other)} of its weights do not fit its config, {other[0]} among them")
    missing = set(report["missing_keys"])
    if lacking := sorted(key for key in missing if not key.startswith(unused or "\0")):
        raise BackendError(f"{name} lacks {len(lacking)} of its weights, {lacking[0]} among them")
    return net.eval(), missing


def class_names(name: str, config: Any) -> tuple[str, ...]:
    """What a classifier calls its outputs, in their order. Names that stand twice get their numbers.

    Raises:
        BackendError: `id2label` numbers other outputs than there are.
    """
    names: dict[int, Any] = config.id2label or dict.fromkeys(range(config.num_labels))
    if sorted(names) != list(range(len(names))):
        raise BackendError(
            f"{name}: id2label in its config.json names the outputs {_few(sorted(names))}, but a model with "
            f"{len(names)} of them has those from 0 to {len(names) - 1}; write a name for each of these"
        )
    ordered = [f"LABEL_{i}" if names[i] is None else str(names[i]) for i in range(len(names))]
    return tuple(one if ordered.count(one) == 1 else f"{one} ({i})" for i, one in enumerate(ordered))


def steady(name: str, ask: Callable[[], Tensor]) -> Tensor:
    """The answer to a question that is asked twice.

    Raises:
        BackendError: the two answers differ, or are no numbers.
    """
    with torch.inference_mode():
        first, second = ask().float(), ask().float()
    if not first.isfinite().all():
        raise BackendError(f"{name} answers with numbers that are not finite; its weights or its config are damaged")
    if first.shape != second.shape or (first - second).abs().max() > STEADY * first.abs().max():
        raise BackendError(f"{name} answers the same question differently each time; a model that draws cannot be used")
    return first


def _few(numbers: list[int]) -> str:
    shown = ", ".join(map(str, numbers[:3]))
    return shown if len(numbers) <= 3 else f"{shown}, … {numbers[-1]}"
