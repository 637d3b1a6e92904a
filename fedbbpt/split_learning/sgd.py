"""The step with which all parts of a model are trained, wherever they are."""

import math

import numpy as np

from fedbbpt.errors import ConfigError
from fedbbpt.split_learning.protocol import Gradients
from fedbbpt.types import Float32, Parameters

CHUNK = 8192  # numbers that BLAS multiplies in one thread


def sgd_step(parameters: Parameters, gradients: Gradients, lr: float) -> Parameters:
    """A step of SGD without momentum on the parts that have a gradient; no part moves further than `lr`.

    Gradients are clipped to a norm of 1, as where vision transformers are fine-tuned (Dosovitskiy et al. 2021, arXiv
    2010.11929, appendix B.1.1), but part by part: the holder of a part need not know the norms of the others, and the
    large gradients of the blocks do not slow the classifier down.

    >>> step = sgd_step({"classifier": np.zeros(2, np.float32)}, {"classifier": np.array([0, 4], np.float32)}, 0.5)
    >>> step["classifier"].tolist()
    [0.0, -0.5]
    """
    return moved(parameters, {part: step_of(gradient, lr) for part, gradient in gradients.items()})


def step_of(gradient: Float32, lr: float) -> Float32:
    """−lr · g / max(1, ‖g‖)."""
    return gradient * np.float32(-lr / max(1.0, norm_of(gradient)))


def moved(parameters: Parameters, steps: Gradients) -> Parameters:
    """The parameters after steps of some parts, whose arrays become the new parameters."""
    new = dict(parameters)
    for part, step in steps.items():
        step += parameters[part]
        new[part] = step
    return new


def check_finite(parameters: Parameters) -> None:
    """Checks that the steps were not too long.

    Raises:
        ConfigError: the parameters are no longer finite.
    """
    if not all(np.isfinite(values).all() for values in parameters.values()):
        raise ConfigError(
            "the parameters diverged beyond all numbers; start a new run with smaller steps (-o algorithm.lr, "
            "-o algorithm.self_update_lr)"
        )


def norm_of(*vectors: Float32) -> float:
    """The norm ‖·‖₂ of vectors, one behind the other.

    Summed in chunks: to the same bits with any number of threads, and without a copy in float64.
    """
    chunks = (chunk for vector in vectors for chunk in np.split(vector, range(CHUNK, len(vector), CHUNK)))
    return math.sqrt(math.fsum(np.vdot(chunk, chunk) for chunk in chunks))
