"""From a backend to a split model, and the options that decide which of its parts are trained."""

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


def partition(context: AlgorithmContext, **options: Any) -> tuple[SplitModel, int]:
    """The backend's model, cut with options of `Splittable.partition_model`, and the number of the task's classes.

    Raises:
        ConfigError: the backend has no model that can be cut in this way, or a prompt or a readout is given, which
            are for black boxes.
    """
    backend, prompt, readout = context.backend, context.model.prompt, context.model.readout
    if not isinstance(backend, Splittable):
        raise ConfigError("SFPrompt needs a model of images that can be cut: --backend local-vit")
    if prompt.dim or not isinstance(readout, NoReadout):
        raise ConfigError("SFPrompt has soft tokens and a classifier of its own: use --prompt none and --readout none")
    scores = np.zeros((1, len(context.model.info.classes)), np.float32)
    classes = readout.log_probabilities(np.zeros(0), scores).shape[-1]
    return backend.partition_model(num_classes=classes, **options), classes


def check_options(
    trainable: str, topology: Topology, body_url: str | None, clip_norm: float | None, noise_multiplier: float
) -> None:
    """Raises ConfigError for options of `sfprompt` that do not go together."""
    if body_url is not None and (trainable == "full" or topology != "split"):
        raise ConfigError(
            "with algorithm.body_url the body stays as it is: leave out trainable=full and topology=federated"
        )
    if noise_multiplier and clip_norm is None:
        raise ConfigError("algorithm.noise_multiplier is in units of algorithm.clip_norm: set that, too")
