"""Passes through a model in three parts, as a client makes them."""

import numpy as np
from numpy.typing import NDArray

from fedbbpt.split_learning.protocol import Gradients, Part, SplitModel
from fedbbpt.split_learning.pruning import el2n
from fedbbpt.split_learning.transport import BypassTransport, Transport
from fedbbpt.types import Batch, Float32, Parameters


def gradients(
    model: SplitModel, trained: frozenset[Part], parameters: Parameters, batch: Batch, transport: Transport
) -> tuple[Gradients, Float32]:
    """The gradients of the trained parts, and the losses (b,) of a batch.

    They go back over the transport only where a part before the tail is trained.
    """
    head = model.head(parameters, batch.inputs, trained)
    output = model.tail(parameters, transport.forward(head.values), batch.labels, trained)
    if output.values is None:
        return output.gradients, output.losses
    return {**output.gradients, **head.vjp(transport.backward(output.values)).gradients}, output.losses


def predict(model: SplitModel, parameters: Parameters, batch: Batch, transport: Transport) -> Float32:
    """Log-probabilities (b, K)."""
    activations = model.head(parameters, batch.inputs, frozenset()).values
    return model.predict(parameters, transport.forward(activations))


def el2n_scores(model: SplitModel, parameters: Parameters, batch: Batch) -> NDArray[np.float64]:
    """The EL2N score (b,) of each sample, by a model without its body."""
    return el2n(np.exp(predict(model, parameters, batch, BypassTransport())), batch.labels)
