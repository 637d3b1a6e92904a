"""Fits the readout exactly across clients: each evaluation exchanges weights for summed statistics."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedbbpt.algorithms import Send
from fedbbpt.algorithms.cross_validation import NUM_FOLDS, statistics
from fedbbpt.readouts import Readout
from fedbbpt.readouts.linear import LinearReadout
from fedbbpt.types import Float32, Floats, Message, Statistics

HANDLER = "fit_statistics"  # replies with the statistics under the message's "readout"
Array = NDArray[np.float64]


class FoldedFit(NamedTuple):
    """A readout fitted to all examples, and one to all folds but each."""

    weights: Array  # (m,)
    fold_weights: Array  # (F, m)


def fit(readout: Readout, weights: Floats, send: Send, message: Message, moments: Array | None = None) -> Array:
    """Fits weights (m,), to the same result as one party with all clients' scores.

    `moments` are the clients' summed statistics for no weights, where they are known.
    """

    def aggregate(candidate: Array) -> Array:
        if moments is not None and not candidate.size:
            return moments
        return summed_statistics(candidate, send, message)

    return readout.fit(weights, aggregate)


def folded_fit(readout: LinearReadout, weights: Floats, send: Send, message: Message) -> FoldedFit:
    """Fits weights (m,) as `fit` does, in as many exchanges, and in the same ones those of `cross_validation`."""
    folds = summed_statistics(np.zeros((NUM_FOLDS, 0)), send, message).reshape(NUM_FOLDS, -1)
    moments = folds.sum(0)
    fitted = fit(readout, weights, send, message, moments)
    return FoldedFit(fitted, np.stack([readout.fitted_to_moments(moments - fold, weights) for fold in folds]))


def summed_statistics(weights: Floats, send: Send, message: Message, handler: str = HANDLER) -> Array:
    """Sums the clients' statistics under these weights, in the clients' order; the handler is one that tells them."""
    message = replace(message, parameters={**message.parameters, "readout": weights.astype(np.float32)})
    total: Array = np.sum([reply.values for reply in send(handler, message)], 0, np.float64)
    return total


def empty_statistics(readout: Readout, message: Message, scores: Float32) -> Statistics:
    """The statistics of a client without data, given its scores (0, V, C)."""
    return statistics(readout, message, readout.fit_data(scores, np.zeros(0, np.int64)), "")
