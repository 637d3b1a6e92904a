"""How a client compares its scores on the same examples."""

import numpy as np
import pytest

from fedbbpt.algorithms import ClientMemory
from fedbbpt.algorithms.pairs import pair_up
from fedbbpt.algorithms.reply_checks import usable
from fedbbpt.types import Message, Pair, Score, Usage

FIRST, SECOND = (Message(round_, 0, {}, "test") for round_ in (1, 2))
BEFORE = np.array([True, True, True, False, False, False])
AFTER = np.array([True, True, False, True, True, False])


def test_scores_of_another_algorithm_are_compared_example_by_example():
    memory = ClientMemory()
    assert pair_up(memory, "baseline", FIRST, BEFORE) == {}
    assert pair_up(memory, "baseline", SECOND, AFTER) == {}  # its own scores are not compared
    assert pair_up(memory, "tuned", FIRST, AFTER) == {"baseline-1": Pair(2, 1), "baseline-2": Pair(0, 0)}


def test_without_memory_there_is_no_pair():
    memory = ClientMemory()
    pair_up(memory, "baseline", FIRST, BEFORE)
    assert pair_up(ClientMemory(), "tuned", FIRST, AFTER) == {}
    assert pair_up(memory, "tuned", FIRST, AFTER[:3]) == {}  # of other data


@pytest.mark.parametrize("subset", ["train", "validation"])
def test_only_scores_on_test_data_are_remembered(make, context_of, fake_backend, make_client, subset):
    algorithm, client = make(fake_backend), make_client()
    ctx, message = context_of(algorithm, client), algorithm.broadcast(algorithm.init())
    for part, remembered in ((subset, 0), ("test", 1)):
        algorithm.handlers["evaluate"](Message(message.round, 5, message.parameters, part), ctx)
        assert len(ctx.memory.part("right")) == remembered


@pytest.mark.parametrize("pair", [Pair(4, 0), Pair(0, 3), Pair(-1, 0)])
def test_pairs_have_to_go_with_the_score(pair):
    honest, wrong = (
        Score(name, np.array([[2, 1], [0, 1]]), 1.0, 1, Usage(), pairs={"baseline-1": one})
        for name, one in (("a", Pair(3, 2)), ("b", pair))
    )
    unusable: dict[str, str] = {}
    template = Score("", np.zeros((2, 2), np.int64), 0.0, 0, Usage())
    assert usable({"a": honest, "b": wrong}, template, FIRST, unusable) == [honest]
    assert unusable == {"b": "sent counts of pairs that do not go with its score"}
