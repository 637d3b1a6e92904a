"""What readouts promise of a fit: sums over clients are all that it needs, and all that it gets."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedbbpt.readouts import Readout
from fedbbpt.testing.answers import fit, fitted, known, loss, make
from fedbbpt.testing.expect import expect


def check_fit(kind: type[Readout], **options: Any) -> None:
    """A fit lowers the loss if something is trained; else it changes nothing, and asks nobody."""
    readout = make(kind, **options)
    for views in (1, 3):
        answers = known(views)
        before, after = (loss(readout, w, *answers) for w in (readout.init(views), fitted(readout, views)))
        if readout.trainable:
            expect(after < 0.6 * before, f"a fit lowers the loss: {before:.3f} to {after:.3f}")
        else:
            expect(after == before, "without weights, a fit changes nothing")
    exchanges = 0

    def aggregate(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        nonlocal exchanges
        exchanges += 1
        return readout.statistics(weights, readout.fit_data(*known()))

    readout.fit(readout.init(2), aggregate)
    expect((exchanges > 0) == readout.trainable, "clients are asked for sums exactly where something is trained")
    expect(exchanges <= readout.most_exchanges, f"most_exchanges bounds those of a fit, which took {exchanges}")


def check_arguments(kind: type[Readout], **options: Any) -> None:
    """Fits and readings leave their arguments as they are; fitted weights are float64, shaped as the initial ones."""
    readout, (scores, labels) = make(kind, **options), known()
    start = fitted(readout)
    copies = start.copy(), scores.copy(), labels.copy()
    told: list[tuple[NDArray[np.float64], NDArray[np.float64]]] = []

    def aggregate(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        sums = readout.statistics(weights, readout.fit_data(scores, labels))
        told.append((sums, sums.copy()))
        return sums

    weights = readout.fit(start, aggregate)
    readout.log_probabilities(start, scores)
    expect(weights.shape == readout.init(2).shape, "fitted weights have the shape of the initial ones")
    expect(weights.dtype == np.float64, "fitted weights are float64")
    expect(np.array_equal(start, copies[0]), "weights stay as they were")
    expect(np.array_equal(scores, copies[1]) and np.array_equal(labels, copies[2]), "answers stay as they were")
    expect(all(np.array_equal(sums, copy) for sums, copy in told), "sums, once told, stay as they were")


def check_silence(kind: type[Readout], **options: Any) -> None:
    """Without any answer the weights stay; a client without any changes nothing."""
    readout, (scores, labels) = make(kind, **options), known()
    silent = np.full_like(scores, np.nan), labels
    for start in (readout.init(2), fitted(readout)):
        expect(np.array_equal(fit(readout, [silent], start), start), "a fit without any answer leaves the weights")
    with_silent = fit(readout, [silent, known(), silent])
    expect(np.allclose(with_silent, fitted(readout), atol=1e-9), "a client without any answer changes nothing")


def check_sums(kind: type[Readout], **options: Any) -> None:
    """Statistics of parts add up, and leave out examples with a failed query."""
    readout, (scores, labels) = make(kind, **options), known()
    parts = (slice(13), slice(13, None))
    for weights in (readout.init(2), fitted(readout)):
        sums = [readout.statistics(weights, readout.fit_data(scores[part], labels[part])) for part in parts]
        whole = readout.statistics(weights, readout.fit_data(scores, labels))
        expect(np.allclose(np.sum(sums, 0), whole, rtol=1e-9, atol=1e-9), "statistics of parts add up")
    kept = np.delete(np.arange(len(labels)), [1, 4])
    expected = readout.statistics(weights, readout.fit_data(scores[kept], labels[kept]))
    scores[1, 0], scores[4] = np.nan, np.nan  # one query of an example, all of another
    holed = readout.statistics(weights, readout.fit_data(scores, labels))
    expect(np.allclose(holed, expected, rtol=1e-9, atol=1e-9), "examples with a failed query count for nothing")


def check_federation(kind: type[Readout], **options: Any) -> None:
    """Clients that know a class each fit together as one hand with all their answers."""
    readout, (scores, labels) = make(kind, **options), known()
    by_class = [(scores[labels == k], labels[labels == k]) for k in range(3)]
    same = np.allclose(fit(readout, by_class), fit(readout, [(scores, labels)]), atol=1e-6)
    expect(same, "clients fit as one hand with all their answers")


READOUT_FIT_CHECKS = (check_fit, check_arguments, check_silence, check_sums, check_federation)
