"""Fits the readout exactly across clients: each evaluation exchanges weights for summed statistics."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fedbbpt.algorithms import Send
from fedbbpt.readouts import Readout
from fedbbpt.types import Float32, Floats, Message, Statistics

HANDLER = "fit_statistics"  # replies with the statistics under the message's "readout"


def fit(readout: Readout, weights: Floats, send: Send, message: Message) -> NDArray[np.float64]:
    """Fits weights (m,), to the same result as one party with all clients' scores."""
    return readout.fit(weights, lambda candidate: summed_statistics(candidate, send, message))


def summed_statistics(weights: Floats, send: Send, message: Message, handler: str = HANDLER) -> NDArray[np.float64]:
    """Sums the clients' statistics under these weights, in the clients' order; the handler is one that tells them."""
    message = replace(message, parameters={**message.parameters, "readout": weights.astype(np.float32)})
    total: NDArray[np.float64] = np.sum([reply.values for reply in send(handler, message)], 0, np.float64)
    return total


def empty_statistics(readout: Readout, weights: Floats, scores: Float32) -> Statistics:
    """The statistics of a client without data, given its scores (0, V, C)."""
    return Statistics(readout.statistics(weights, readout.fit_data(scores, np.zeros(0, np.int64))).astype(np.float32))
