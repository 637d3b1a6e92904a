"""How much the loss of a split model rises near its trained parts (see `fedbbpt.algorithms.sharpness`)."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fedbbpt.algorithms.sharpness import DIRECTIONS, RHO
from fedbbpt.readouts import cross_entropy
from fedbbpt.split_learning import passes
from fedbbpt.split_learning.protocol import Gradients, Part, SplitModel
from fedbbpt.split_learning.sgd import moved, norm_of
from fedbbpt.split_learning.transport import Transport
from fedbbpt.types import Batch, Parameters


def parts_sharpness(
    model: SplitModel,
    trained: frozenset[Part],
    parameters: Parameters,
    batches: Sequence[Batch],
    transport: Transport,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """The mean loss at a distance of ρ from all trained parts together, less that at them, nats; NaN without examples.

    Returns two numbers: the mean over ten random directions (five and their opposites), and that along the gradient.
    Each of twelve points takes a pass of all batches through the model.
    """
    if not batches:
        return np.full(2, np.nan)
    labels = np.concatenate([batch.labels for batch in batches])
    here, gradient = 0.0, dict[Part, NDArray[np.float32]]()
    for batch in batches:
        of_batch, losses = passes.gradients(model, trained, parameters, batch, transport)
        here += float(losses.sum(dtype=np.float64)) / len(labels)
        for part, values in of_batch.items():
            share = values * np.float32(len(batch.labels) / len(labels))
            gradient[part] = gradient[part] + share if part in gradient else share

    def rise(way: Gradients, sign: float) -> float:
        factor = np.float32(sign * RHO / (norm_of(*way.values()) or 1.0))
        there = moved(parameters, {part: values * factor for part, values in way.items()})
        log_p = np.concatenate([passes.predict(model, there, batch, transport) for batch in batches])
        return float(cross_entropy(log_p.astype(np.float64), labels).mean()) - here

    at_random = []
    for _ in range(DIRECTIONS // 2):
        way = {part: rng.standard_normal(len(gradient[part]), np.float32) for part in sorted(gradient)}
        at_random += [rise(way, sign) for sign in (1, -1)]
    return np.array([np.mean(at_random), rise(gradient, 1)])
