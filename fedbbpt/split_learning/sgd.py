"""The step with which all parts of a model are trained, wherever they are."""

import math

import numpy as np

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
    new = dict(parameters)
    for part, gradient in gradients.items():
        step = gradient * np.float32(-lr / max(1.0, _norm(gradient)))
        step += parameters[part]
        new[part] = step
    return new


def _norm(vector: Float32) -> float:
    """‖·‖₂, summed in chunks: to the same bits with any number of threads, and without a copy in float64."""
    return math.sqrt(math.fsum(np.vdot(chunk, chunk) for chunk in np.split(vector, range(CHUNK, len(vector), CHUNK))))
