"""The contract of readouts: scores to log-probabilities, and a fit from sums over all clients.

def test_my_readout():
    check_readout(MyReadout, l2=0.1)
"""

from typing import Any

import numpy as np

from fedbbpt.readouts import Readout
from fedbbpt.testing.answers import KINDS, MODEL, answers, fit, fitted, known, make
from fedbbpt.testing.expect import expect
from fedbbpt.testing.readout_fits import READOUT_FIT_CHECKS


def check_readout(kind: type[Readout], **options: Any) -> None:
    """Checks all promises of `Readout`; of one with `probes`, on a model for texts, else on one for images.

    Args:
        kind: the class.
        options: those of its options that are not to have their defaults.

    Raises:
        ContractError: a promise is broken; says which.
    """
    for check in READOUT_CHECKS:
        check(kind, **options)


def check_init(kind: type[Readout], **options: Any) -> None:
    """`init` gives a float32 vector, which is empty where nothing is trained."""
    expect(Readout in kind.__mro__, "the class derives from Readout")
    readout = make(kind, **options)
    weights = readout.init(2)
    expect(weights.ndim == 1 and weights.dtype == np.float32, "init gives a float32 vector")
    expect((len(weights) > 0) == readout.trainable, "there are initial weights exactly where something is trained")


def check_probabilities(kind: type[Readout], **options: Any) -> None:
    """Probabilities of all the task's classes add up to 1, whatever the model scores in."""
    for scores_in, convert in KINDS.items():
        readout = make(kind, scores_in, **options)
        for views in (1, 3):
            for weights in (readout.init(views), fit(readout, [known(views, scores_in)])):
                for leading in ((), (5,), (2, 5)):
                    logits = np.random.default_rng(0).normal(size=(*leading, views, len(MODEL)))
                    log_p = readout.log_probabilities(weights, convert(logits).astype(np.float32))
                    expect(log_p.shape == (*leading, 3), "scores (…, V, C) give log-probabilities (…, K)")
                    expect(log_p.dtype == np.float64, "log-probabilities are float64")
                    expect(np.allclose(np.exp(log_p).sum(-1), 1), f"probabilities add up to 1, from {scores_in}")


def check_kinds_of_scores(kind: type[Readout], **options: Any) -> None:
    """The same answer is read alike, and fitted to alike, as logits, log-probabilities or probabilities."""
    weights, read, refitted = fitted(make(kind, **options)), [], []
    for scores_in in KINDS:
        readout = make(kind, scores_in, **options)
        own = fit(readout, [known(scores=scores_in)])
        read.append(readout.log_probabilities(weights, answers(scores=scores_in)))
        refitted.append(readout.log_probabilities(own, answers(scores=scores_in)))
    for i, scores_in in enumerate(KINDS):
        expect(np.allclose(read[0], read[i], atol=1e-4), f"{scores_in} are read as logits are")
        expect(np.allclose(refitted[0], refitted[i], atol=1e-3), f"a fit to {scores_in} gives what one to logits gives")


def check_extremes(kind: type[Readout], **options: Any) -> None:
    """Impossible classes and large scores are answers like any other."""
    for scores_in, scores in (
        ("probabilities", np.array([[0, 0.5, 0.25, 0.25]])),
        ("log-probabilities", np.array([[-np.inf, *np.log([0.5, 0.25, 0.25])]])),
    ):
        readout, impossible = make(kind, scores_in, **options), scores.astype(np.float32)
        expect(
            not np.isnan(readout.log_probabilities(readout.init(1), impossible)).any(), "an impossible class is read"
        )
        weights = fit(readout, [(np.stack([impossible, impossible]), np.array([0, 1]))])
        expect(bool(np.isfinite(weights).all()), "a fit survives an impossible class")
    readout, (scores, labels) = make(kind, **options), known()
    log_p = readout.log_probabilities(readout.init(1), np.array([[1e6, -1e6, 0, 2e6]], np.float32))
    expect(bool(np.isfinite(log_p).all()), "large scores do not overflow")
    weights = fit(readout, [(np.float32(1e6) * scores, labels)])
    log_p = readout.log_probabilities(weights, np.float32(1e6) * scores)
    expect(bool(np.isfinite(log_p).all()), "a fit to large scores does not overflow")


def check_failed_queries(kind: type[Readout], **options: Any) -> None:
    """An example with a failed query is a row of NaN; all others are read as ever."""
    readout, scores = make(kind, **options), answers()
    for weights in (readout.init(2), fitted(readout)):
        whole = readout.log_probabilities(weights, scores)
        for view in (0, 1):
            holed = scores.copy()
            holed[1, 2, view] = np.nan
            read = readout.log_probabilities(weights, holed)
            expect(bool(np.isnan(read[1, 2]).all()), "an example with a failed query is a row of NaN")
            read[1, 2] = whole[1, 2]
            expect(np.array_equal(read, whole), "a failed query leaves other examples as they are")


def check_views(kind: type[Readout], **options: Any) -> None:
    """The order of the prompts does not matter, beyond what a fit leaves to chance."""
    readout, (scores, labels), order = make(kind, **options), known(3), [2, 0, 1]
    for one, other in (
        (readout.init(3), readout.init(3)),
        (fit(readout, [(scores, labels)]), fit(readout, [(scores[:, order], labels)])),
    ):
        expected = readout.log_probabilities(one, answers(3))
        same = np.allclose(readout.log_probabilities(other, answers(3)[:, :, order]), expected, atol=0.05)
        expect(same, "the order of the prompts does not matter")


def check_precision(kind: type[Readout], **options: Any) -> None:
    """Fitted weights may be sent as float32."""
    readout = make(kind, **options)
    weights = fitted(readout)
    sent, exact = (readout.log_probabilities(w, answers()) for w in (weights.astype(np.float32), weights))
    expect(np.allclose(sent, exact, atol=1e-4), "weights may be sent as float32")


READOUT_CHECKS = (
    check_init,
    check_probabilities,
    check_kinds_of_scores,
    check_extremes,
    check_failed_queries,
    check_views,
    check_precision,
    *READOUT_FIT_CHECKS,
)
