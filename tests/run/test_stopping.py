import math
from types import SimpleNamespace

import pytest

from fedbbpt.config import make_config
from fedbbpt.run.stopping import stop_reason

PLANNED = SimpleNamespace(rounds=50)


def config(**changes):
    return make_config({"rounds": 50, "evaluate_every": 1, "patience": 5} | changes)


def rows(*losses, accuracy=0.5):
    """A run's rounds so far, by their validation losses."""
    return [
        {"round": i, "subset": "validation", "accuracy": accuracy, "loss": loss, "train_loss": 1.0}
        for i, loss in enumerate(losses)
    ]


def test_a_run_goes_on_while_it_gets_better():
    assert stop_reason(rows(*(1 - i / 100 for i in range(40))), PLANNED, config()) is None


@pytest.mark.parametrize("worse", [0.5, 0.6, math.nan, None])
def test_no_better_for_as_many_rounds_as_patience(worse):
    assert stop_reason(rows(0.9, 0.5, *[worse] * 4), PLANNED, config()) is None
    said = stop_reason(rows(0.9, 0.5, *[worse] * 5), PLANNED, config())
    assert said == "early, after 6 of 50 rounds: 5 (patience) brought no validation loss below the 0.500 of round 1"


def test_the_start_may_be_the_best():
    assert "below the 0.100 of round 0" in stop_reason(rows(0.1, *[0.3] * 5), PLANNED, config())


def test_nothing_is_left_to_be_learned():
    assert "nothing left to be learned" in stop_reason(rows(0.5, 0.0004, accuracy=1.0), PLANNED, config())
    assert stop_reason(rows(0.5, 0.0004, accuracy=0.9), PLANNED, config()) is None  # some were not answered
    assert stop_reason(rows(0.5, 0.002, accuracy=1.0), PLANNED, config()) is None


def test_without_patience_all_rounds_are_done():
    found = rows(0.9, *[1.0] * 40)
    assert stop_reason(found, PLANNED, config(patience=0)) is None
    assert stop_reason(rows(0.5, 0.0, accuracy=1.0), PLANNED, config(patience=0)) is None


def test_only_rounds_that_were_looked_at_count():
    found = rows(0.5, *[None] * 5, None)
    assert stop_reason(found[:6], PLANNED, config(evaluate_every=7)) is None
    found = rows(0.5, *[None] * 6, 0.7)
    assert "after 7 of 50 rounds" in stop_reason(found, PLANNED, config(evaluate_every=7))


def test_test_data_have_no_part_in_it():
    good = [row | {"subset": "test"} for row in rows(0.0, accuracy=1.0)]
    assert stop_reason([*rows(0.9, 0.8), *good], PLANNED, config()) is None


@pytest.mark.parametrize(
    ("planned", "asked", "says"),
    [
        (2, 2, "as planned, after 2 rounds"),
        (1, 1, "as planned, after 1 round"),
        (0, 0, "as planned, after 0 rounds"),
        (2, 9, "after 2 of 9 rounds, as max_queries and max_requests pay for no more"),
    ],
)
def test_all_rounds_done(planned, asked, says):
    found = rows(*[0.5] * (planned + 1))
    assert stop_reason(found, SimpleNamespace(rounds=planned), config(rounds=asked)) == says
