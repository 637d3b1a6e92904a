"""What a run has learned, apart from the model itself."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fedbbpt.algorithms import Algorithm
from fedbbpt.config.components import load_class
from fedbbpt.config.schema import ComponentConfig
from fedbbpt.errors import RunError
from fedbbpt.run import checkpoint
from fedbbpt.run.environment import read_provider_data
from fedbbpt.run.resume import check_config_unchanged, read_run
from fedbbpt.run.saved_task import TaskInfo
from fedbbpt.types import Parameters


@dataclass(frozen=True)
class TunedState:
    """The parameters of a run's best round, and what they belong to. It holds no client's data; it can be pickled.

    Attributes:
        backend, prompt, readout: the components, with all their options.
        task: the classes, and what the model's provider knows of the task.
        provided: what the backend took from the provider (`RecordingProvider.to_bytes`).
        parameters: `prompt` (V·d,) of V prompts and `readout` (w,), both float32.
        title: a short name of the task, without its path.
        text_column: the column of the texts, where the run was trained on tables.
    """

    backend: ComponentConfig
    prompt: ComponentConfig
    readout: ComponentConfig
    task: TaskInfo
    provided: bytes
    parameters: Parameters
    title: str
    text_column: str | None = None

    @property
    def sha256(self) -> str:
        """A fingerprint: equal for states that give the same answers with the same model."""
        known = [self.backend.table, self.prompt.table, self.readout.table, self.task.model_dump()]
        digest = hashlib.sha256(json.dumps(known, sort_keys=True).encode() + self.provided)
        for name, array in sorted(self.parameters.items()):
            digest.update(name.encode() + array.tobytes())
        return digest.hexdigest()


def read_tuned_run(folder: Path) -> TunedState:
    """Reads what the run in a folder has learned so far; needs none of the task's data.

    Raises:
        RunError: no trained run in the folder, or its config has changed, or its clients share no parameters.
    """
    config, environment = read_run(folder)
    algorithm: type[Algorithm] = load_class("algorithms", config.algorithm.name)
    if not algorithm.shares_parameters:
        raise RunError(f"the clients of {folder} share no parameters (algorithm {config.algorithm.name})")
    if algorithm.access == "white-box":
        raise RunError(f"the run in {folder} trained parts of the model, which predict does not put in")
    progress, best = checkpoint.load_best(folder)
    check_config_unchanged(config, progress, folder)
    if "prompt" not in best.parameters:
        raise RunError(f"the nodes of {folder} keep the parameters until its rounds are over: finish it (--resume)")
    kind, _, source = config.task.name.partition(":")
    return TunedState(
        config.backend,
        config.prompt,
        config.readout,
        environment.task,
        read_provider_data(folder, environment),
        {name: np.asarray(best.parameters[name], np.float32) for name in ("prompt", "readout")},
        Path(source).stem or kind,
        config.task.options.get("text_column"),
    )
