"""The readout's exact fit across clients: each evaluation is one exchange of weights for sums."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fedbbpt.algorithms import Exchange
from fedbbpt.readouts import Readout
from fedbbpt.types import Client, Float32, Floats, Message, Sums

Work = Callable[[Message, Client], Sums]


def fit(readout: Readout, weights: Floats, exchange: Exchange, sums: Work, message: Message) -> NDArray[np.float64]:
    """Fitted weights; `sums` is what a client makes of the message with weights as its part "readout"."""
    return readout.fit(weights, lambda w: total_of(w, exchange, sums, message))


def blank_sums(readout: Readout, weights: Floats, scores: Float32) -> Sums:
    """What clients without data add, whose answers `scores` (0, V, C) are."""
    return Sums(readout.statistics(weights, readout.fit_data(scores, np.zeros(0, np.int64))).astype(np.float32))


def total_of(weights: Floats, exchange: Exchange, sums: Work, message: Message) -> NDArray[np.float64]:
    """The clients' sums, added up in their order."""
    told = replace(message, parameters={**message.parameters, "readout": weights.astype(np.float32)})
    total: NDArray[np.float64] = np.sum([reply.values for reply in exchange(sums, told)], 0, np.float64)
    return total
