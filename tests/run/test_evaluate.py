"""Which round's parameters a run keeps."""

from typing import NamedTuple

import pytest

from fedbbpt.algorithms import CrossValidated, ModelSelection, ServerState
from fedbbpt.run.evaluate import select_best


class Looked(NamedTuple):
    """What validation data say."""

    loss: float
    accuracy: float
    examples: int = 10


def kept(selection: ModelSelection, *rounds: tuple[float, float]) -> int:
    best = None
    for i, round_ in enumerate(rounds):
        best = select_best(Looked(*round_), ServerState(i, {}), best, selection)  # type: ignore[arg-type]
    assert best is not None
    assert (best.start_loss, best.start_accuracy) == rounds[0]
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


@pytest.mark.parametrize("selection", ["best", "last"])
@pytest.mark.parametrize(
    ("counts", "validation", "kept"),
    [
        ((40, 9, 1), (2.0, 0.5), True),  # the validation loss has doubled, and does not matter
        ((40, 9, 1), (0.1, 0.0), True),  # 8 - 5 right, of 10 + 2.5 that differ: 3 >= 0.5 * 3.5
        ((40, 7, 2), (0.1, 0.0), False),  # 5 - 5 of 9 + 2.25
        ((40, 4, 4), (0.1, 0.5), False),  # chance alone
        ((40, 0, 0), (0.1, 0.5), True),  # nothing differs, and nothing is lost
        ((40, 0, 0), (0.1, 0.4), False),
        ((0, 0, 0), (0.1, 0.7), True),  # the clients have only validation data
    ],
)
def test_a_cross_validated_readout_is_kept_by_what_it_reads_rightly(selection, counts, validation, kept) -> None:
    start = select_best(Looked(1.0, 0.5), ServerState(0, {}), None, selection)  # type: ignore[arg-type]
    new = ServerState(1, {})
    best = select_best(Looked(*validation), new, start, selection, CrossValidated(*counts), 0.5)  # type: ignore[arg-type]
    assert best.round == kept
    assert (best.start_loss, best.start_accuracy) == (1.0, 0.5)


def test_without_validation_data_the_training_data_alone_decide() -> None:
    nothing = Looked(float("nan"), float("nan"), 0)
    start = select_best(nothing, ServerState(0, {}), None, "last")  # type: ignore[arg-type]
    for counts, kept in (((40, 9, 1), 1), ((40, 1, 9), 0)):
        assert select_best(nothing, ServerState(1, {}), start, "last", CrossValidated(*counts), 0.5).round == kept  # type: ignore[arg-type]


@pytest.mark.parametrize(("least", "kept"), [(2.0, 0), (0.9, 0), (0.7, 1), (0.0, 1), (-100.0, 1)])
def test_how_much_better_is_for_the_user_to_say(least, kept) -> None:
    start = select_best(Looked(1.0, 0.5), ServerState(0, {}), None, "last")  # type: ignore[arg-type]
    counts = CrossValidated(40, 7, 4)  # 3 of 11, and as right as before on ten more: 3 >= least * 3.7
    best = select_best(Looked(1.0, 0.5), ServerState(1, {}), start, "last", counts, least)  # type: ignore[arg-type]
    assert best.round == kept
