"""What every registered readout promises."""

from typing import Any

import numpy as np
import pytest
from scipy.special import log_softmax

from fedbbpt import registry
from fedbbpt.readouts import Readout
from fedbbpt.readouts.identity import Identity
from fedbbpt.readouts.prototypes import Prototypes
from fedbbpt.testing import ContractError, check_readout
from fedbbpt.testing.answers import answers, make
from fedbbpt.testing.readouts import READOUT_CHECKS

NAMES = registry.names("readouts")


@pytest.mark.parametrize("check", READOUT_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", NAMES)
def test_keeps_its_promises(name: str, check: Any) -> None:
    check(registry.load("readouts", name))


def built(name: str, kind: str = "logits") -> Readout:
    return make(registry.load("readouts", name), kind)


@pytest.mark.parametrize("views", [1, 3])
@pytest.mark.parametrize("name", NAMES)
def test_untrained_readout_reads_the_classes_by_name(name: str, views: int) -> None:
    readout, scores = built(name), answers(views).astype(np.float64)
    centred = scores - scores.mean(-1, keepdims=True)
    expected = log_softmax(centred[..., [3, 1, 0]].mean(-2), -1)
    assert np.allclose(readout.log_probabilities(readout.init(views), answers(views)), expected)


@pytest.mark.parametrize("kind", ["probabilities", "log-probabilities"])
@pytest.mark.parametrize("name", NAMES)
def test_untrained_readout_reads_an_impossible_class_as_such(name: str, kind: str) -> None:
    readout, p = built(name, kind), np.array([[0, 0.5, 0.25, 0.25]], np.float32)
    with np.errstate(divide="ignore"):
        log_p = readout.log_probabilities(readout.init(1), p if kind == "probabilities" else np.log(p))
    assert np.allclose(np.exp(log_p), [1 / 3, 2 / 3, 0], atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_untrained_readout_reads_the_largest_score_first(name: str) -> None:
    readout = built(name)
    log_p = readout.log_probabilities(readout.init(1), np.array([[1e6, -1e6, 0, 2e6]], np.float32))
    assert log_p.argmax() == 0


class Sloppy(Identity):
    """Reads what failed as if it said nothing."""

    def log_probabilities(self, weights: Any, scores: Any) -> Any:
        return super().log_probabilities(weights, np.nan_to_num(scores))


class Hasty(Prototypes):
    """Fits in one exchange more than it says."""

    def fit(self, weights: Any, aggregate: Any) -> Any:
        return super().fit(super().fit(weights, aggregate), aggregate)


def test_a_fit_of_more_exchanges_than_said_is_refused() -> None:
    with pytest.raises(ContractError, match="most_exchanges bounds those of a fit, which took 2"):
        check_readout(Hasty)


def test_what_breaks_a_promise_is_told_which() -> None:
    with pytest.raises(ContractError, match="an example with a failed query is a row of NaN"):
        check_readout(Sloppy)
