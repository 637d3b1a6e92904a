"""The folder of an exported model: what is in it, and how it is read and checked.

`config.json` names the components and holds the checksums of the other files; a signature is one of that file.
`README.md` is the model's card, `model.safetensors` holds what was learned and what the backend took from the model's
provider, `canaries.safetensors` a few inputs with their answers.
"""

from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from fedbbpt.config.components import load_class, option_fields, resolve
from fedbbpt.config.places import is_place
from fedbbpt.config.schema import ComponentConfig
from fedbbpt.errors import ConfigError, RunError
from fedbbpt.run.atomic_files import checksum, reading
from fedbbpt.run.records import read_record
from fedbbpt.run.saved_task import TaskInfo
from fedbbpt.tuned.state import TunedState

CONFIG, CARD, ARRAYS, CANARIES = "config.json", "README.md", "model.safetensors", "canaries.safetensors"
PROVIDED = "provided/"
FORMAT = 1
PARTS = ("prompt", "readout")


class ExportConfig(BaseModel):
    """The contents of `config.json`, beside its own checksum."""

    model_config = ConfigDict(extra="forbid")
    format: int
    fedbbpt: str  # the version that wrote it
    title: str
    model: str  # the name of the model that answers
    backend: dict[str, Any]
    needs: list[str]  # options of the backend that are left out: each machine has its own
    prompt: dict[str, Any]
    readout: dict[str, Any]
    task: TaskInfo
    text_column: str | None
    files: dict[str, str]  # name -> SHA-256


def is_exported(folder: Path) -> bool:
    """Whether a folder holds an exported model, and no run."""
    return (folder / CONFIG).is_file() and not (folder / "config.toml").exists()


def read_config(folder: Path) -> ExportConfig:
    """Reads `config.json` of an exported folder.

    Raises:
        RunError: it is damaged, or of another version, or another file has changed since it was written.
    """
    config = read_record(folder / CONFIG, ExportConfig)
    if config.format != FORMAT:
        raise RunError(
            f"{folder} was exported in format {config.format}, and this fedbbpt reads format {FORMAT}; export it again "
            f"with this version (it was written by {config.fedbbpt})"
        )
    for name, known in config.files.items():
        with reading(folder / name):
            content = (folder / name).read_bytes()
        if Path(name).name != name or checksum(content) != known:
            raise RunError(f"{folder / name} has changed since it was exported; get the folder again")
    return config


def read_exported(folder: Path, options: dict[str, Any]) -> TunedState:
    """What an exported folder holds.

    Raises:
        RunError: a file of it is damaged.
        ConfigError: options are needed that depend on the machine, such as an address.
    """
    config = read_config(folder)
    if missing := [name for name in config.needs if name not in options]:
        flags, items = " ".join(f"-o {name}=VALUE" for name in missing), ", ".join(f"{name!r}: …" for name in missing)
        raise ConfigError(
            f"the backend {config.backend['name']!r} of {folder} needs options that differ from machine to machine; "
            f"add {flags}, or options={{{items}}} in Python"
        )
    arrays = safetensors.numpy.load((folder / ARRAYS).read_bytes())
    provided = {name.removeprefix(PROVIDED): a for name, a in arrays.items() if name.startswith(PROVIDED)}
    given = {key: options[key] for key in config.needs}
    return TunedState(
        _component("backends", {**config.backend, **given}),
        _component("prompts", config.prompt),
        _component("readouts", config.readout),
        config.task,
        safetensors.numpy.save(provided) if provided else b"",
        {name: arrays[name] for name in PARTS},
        config.title,
        config.text_column,
    )


def write_arrays(state: TunedState) -> bytes:
    """What was learned, and what was taken from the provider, as safetensors."""
    taken = safetensors.numpy.load(state.provided) if state.provided else {}
    arrays: dict[str, NDArray[Any]] = {PROVIDED + name: array for name, array in taken.items()}
    return safetensors.numpy.save(arrays | {name: np.asarray(state.parameters[name]) for name in PARTS})


def portable(backend: ComponentConfig, resolved: Any) -> tuple[dict[str, Any], list[str]]:
    """The options of a backend that mean the same elsewhere, and the names of those that others must give.

    What belongs to one machine is left out: places of files, addresses, keys. What the backend chose for this machine,
    such as the device, is chosen again.
    """
    kind = load_class("backends", backend.name)
    defaults = {name: default for name, (_, default) in option_fields(kind).items()}
    kept, needs = {"name": backend.name}, []
    for name, value in backend.options.items():
        if name in kind.private_options:
            if value != defaults.get(name) and name not in resolved:
                needs.append(name)
        elif is_place(value):
            needs.append(name)
        else:
            kept[name] = value
    return kept, needs


def _component(kind: str, table: dict[str, Any]) -> ComponentConfig:
    return resolve(kind, table["name"], {key: value for key, value in table.items() if key != "name"})
