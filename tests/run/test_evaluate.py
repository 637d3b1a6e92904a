"""Which round's parameters a run keeps."""

from typing import NamedTuple

import pytest

from fedbbpt.algorithms import ModelSelection, ServerState
from fedbbpt.run.evaluate import select_best


class Looked(NamedTuple):
    """What validation data say."""

    loss: float
    accuracy: float


def kept(selection: ModelSelection, *rounds: tuple[float, float]) -> int:
    best = None
    for i, round_ in enumerate(rounds):
        best = select_best(Looked(*round_), ServerState(i, {}), best, selection)  # type: ignore[arg-type]
    assert best is not None
    assert best.start == rounds[0][0]
    assert (best.loss, best.accuracy) == rounds[best.round]
    return best.round


@pytest.mark.parametrize(
    ("rounds", "best", "last"),
    [
        ([(1.0, 0.5)], 0, 0),
        ([(1.0, 0.5), (0.5, 0.6), (0.8, 0.7)], 1, 2),
        ([(1.0, 0.5), (0.5, 0.6), (1.1, 0.9)], 1, 1),
        ([(1.0, 0.5), (1.2, 0.9), (1.3, 0.9)], 0, 0),
        ([(1.0, 0.5), (1.2, 0.9), (1.0, 0.5)], 0, 2),
        ([(1.0, 0.5), (0.7, 0.6), (0.7, 0.7), (0.7, 0.7)], 2, 3),
        ([(1.0, 0.5), (float("nan"), float("nan")), (1.5, 0.6)], 0, 0),
    ],
    ids=["start", "rises again", "above the start", "never better", "as good as the start", "ties", "no answers"],
)
def test_the_best_or_the_last_that_is_not_above_the_start(
    rounds: list[tuple[float, float]], best: int, last: int
) -> None:
    assert kept("best", *rounds) == best
    assert kept("last", *rounds) == last
