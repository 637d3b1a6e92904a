"""A backend's model in parts, and which of them are trained."""

from typing import Any

import numpy as np

from fedbbpt.algorithms import Parts
from fedbbpt.errors import ConfigError
from fedbbpt.readouts.none import NoReadout
from fedbbpt.split_learning.protocol import Part, Split, Splittable

TRAINED: dict[str, tuple[Part, ...]] = {
    "prompt": ("prompt", "tail", "classifier"),
    "linear": ("classifier",),
    "full": ("prompt", "head", "body", "tail", "classifier"),
}


def cut(parts: Parts, **how: Any) -> tuple[Split, int]:
    """The model in parts, and the number of the task's classes.

    Raises:
        ConfigError: the backend has no model that can be cut so, or there are a prompt or a readout for a black box.
    """
    backend, prompt, readout = parts.objective
    if not isinstance(backend, Splittable):
        raise ConfigError("algorithm 'sfprompt' needs a model of images that can be cut: --backend local-vit")
    if prompt.dim or not isinstance(readout, NoReadout):
        raise ConfigError(
            "algorithm 'sfprompt' has soft tokens and a classifier of its own: use --prompt none and --readout none"
        )
    scores = np.zeros((1, len(backend.info.classes)), np.float32)
    classes = readout.log_probabilities(np.zeros(0), scores).shape[-1]
    return backend.split(classes=classes, **how), classes


def check(train: str, split: bool, server: str | None, clip: float | None, noise: float) -> None:
    """Refuses options that do not go together.

    Raises:
        ConfigError: they do not.
    """
    if server is not None and (train == "full" or not split):
        raise ConfigError("with algorithm.server the body stays as it is: leave out train=full and split=false")
    if noise and clip is None:
        raise ConfigError("algorithm.noise is in units of algorithm.clip: give that, too")
