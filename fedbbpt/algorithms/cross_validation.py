"""Whether a linear readout reads new examples better than an untrained one, by cross-validation across clients.

Each client deals its training examples into folds. For each fold, the server fits a readout to the class moments of all
others, and learns how often it is right about the fold that it has not seen. So the training examples tell what
otherwise only the few validation examples would.
"""

import zlib
from typing import cast

import numpy as np
from numpy.typing import NDArray

from fedbbpt.readouts import Readout, ReadoutData
from fedbbpt.readouts.linear import LinearReadout
from fedbbpt.types import Floats, Int64, Message, Statistics

NUM_FOLDS = 2  # as good as four or eight on development tasks, for fewer bytes
FOLDS = "folds"  # name in a message
Array = NDArray[np.float64]


def statistics(readout: Readout, message: Message, data: ReadoutData, client: str) -> Statistics:
    """What a client tells of its answers under the message's "readout" and, one behind the other, its "folds".

    Under weights (m,), the readout's own statistics, which a fit needs. With a linear readout, also: for weights
    (F, 0), the class moments of each fold (F·S,). For weights (F, m), a row for each fold, fitted without it: the
    number of examples, of those that these weights read rightly and untrained ones do not, and of those that only
    untrained ones do (3,).
    """
    wanted = [message.parameters[name] for name in ("readout", FOLDS) if name in message.parameters]
    return Statistics(np.concatenate([_told(readout, part, data, client) for part in wanted]).astype(np.float32))


def _told(readout: Readout, weights: Floats, data: ReadoutData, client: str) -> Array:
    if weights.ndim == 1:
        return readout.statistics(weights, data)
    folds = _folds(data.labels, len(weights), client)
    parts = [ReadoutData(*(part[folds == fold] for part in data)) for fold in range(len(weights))]
    if not weights.size:
        return np.concatenate([readout.statistics(np.zeros(0), part) for part in parts])
    linear, untrained = cast(LinearReadout, readout), np.zeros(weights.shape[1])
    pairs = zip(weights, parts, strict=True)
    right = [(_is_right(linear, own, part), _is_right(linear, untrained, part)) for own, part in pairs]
    fitted, before = (np.concatenate(column) for column in zip(*right, strict=True))
    return np.array([len(fitted), (fitted & ~before).sum(), (before & ~fitted).sum()], np.float64)


def _folds(labels: Int64, count: int, client: str) -> Int64:
    """The fold of each example (N,): each class is dealt in turn. Not all clients begin with the same fold."""
    folds = np.empty(len(labels), np.int64)
    folds[np.argsort(labels, kind="stable")] = (np.arange(len(labels)) + zlib.crc32(client.encode())) % count
    return folds


def _is_right(readout: LinearReadout, weights: Floats, data: ReadoutData) -> NDArray[np.bool_]:
    return np.asarray(readout.read(weights, data).argmax(1) == data.labels)
