"""The readout's exact fit across clients: each evaluation is one exchange of weights for summed statistics."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fedbbpt.algorithms import Send
from fedbbpt.readouts import Readout
from fedbbpt.types import Float32, Floats, Message, Statistics

HANDLER = "fit_statistics"  # the client's part of it: statistics of its answers under the message's "readout"


def fit(readout: Readout, weights: Floats, send: Send, message: Message) -> NDArray[np.float64]:
    """Fitted weights (m,): what a single party with all clients' answers would fit."""
    return readout.fit(weights, lambda candidate: summed_statistics(candidate, send, message))


def summed_statistics(weights: Floats, send: Send, message: Message) -> NDArray[np.float64]:
    """The clients' statistics under these weights, added up in the clients' order."""
    told = replace(message, parameters={**message.parameters, "readout": weights.astype(np.float32)})
    total: NDArray[np.float64] = np.sum([reply.values for reply in send(HANDLER, told)], 0, np.float64)
    return total


def empty_statistics(readout: Readout, weights: Floats, scores: Float32) -> Statistics:
    """The statistics of a client without data, given its scores (0, V, C)."""
    return Statistics(readout.statistics(weights, readout.fit_data(scores, np.zeros(0, np.int64))).astype(np.float32))
