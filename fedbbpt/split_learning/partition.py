"""A backend's model in parts, and which of them are trained."""

from typing import Any, Literal

import numpy as np

from fedbbpt.algorithms import AlgorithmContext
from fedbbpt.errors import ConfigError
from fedbbpt.readouts.none import NoReadout
from fedbbpt.split_learning.protocol import Part, SplitModel, Splittable

Topology = Literal["split", "federated"]  # the body at the server; or the whole model at each client
TRAINABLE: dict[str, tuple[Part, ...]] = {
    "prompt": ("prompt", "tail", "classifier"),
    "linear": ("classifier",),
    "full": ("prompt", "head", "body", "tail", "classifier"),
}


def partition(context: AlgorithmContext, **how: Any) -> tuple[SplitModel, int]:
    """The model in parts, and the number of the task's classes.

    Raises:
        ConfigError: the backend has no model that can be cut so, or there are a prompt or a readout for a black box.
    """
    backend, prompt, readout = context.backend, context.model.prompt, context.model.readout
    if not isinstance(backend, Splittable):
        raise ConfigError("algorithm 'sfprompt' needs a model of images that can be cut: --backend local-vit")
    if prompt.dim or not isinstance(readout, NoReadout):
        raise ConfigError(
            "algorithm 'sfprompt' has soft tokens and a classifier of its own: use --prompt none and --readout none"
        )
    scores = np.zeros((1, len(context.model.info.classes)), np.float32)
    classes = readout.log_probabilities(np.zeros(0), scores).shape[-1]
    return backend.partition_model(num_classes=classes, **how), classes


def check_options(
    trainable: str, topology: Topology, body_url: str | None, clip_norm: float | None, noise_multiplier: float
) -> None:
    """Refuses options that do not go together.

    Raises:
        ConfigError: they do not.
    """
    if body_url is not None and (trainable == "full" or topology != "split"):
        raise ConfigError(
            "with algorithm.body_url the body stays as it is: leave out trainable=full and topology=federated"
        )
    if noise_multiplier and clip_norm is None:
        raise ConfigError("algorithm.noise_multiplier is in units of algorithm.clip_norm: give that, too")
