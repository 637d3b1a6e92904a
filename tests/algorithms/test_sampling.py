"""Minibatches of a client's training data."""

import numpy as np
import pytest

from fedbbpt.algorithms.sampling import minibatch


def test_minibatch_is_drawn_without_replacement(make_data):
    data, rng = make_data(20), np.random.default_rng(0)
    batches = [minibatch(data, 19, rng) for _ in range(5)]
    for batch in batches:
        assert len({image.tobytes() for image in batch.inputs}) == 19
    assert len({batch.inputs.tobytes() for batch in batches}) == 5


@pytest.mark.parametrize("size", [20, 21])
def test_minibatch_of_all_keeps_the_order(make_data, size):
    data = make_data(20)
    assert np.array_equal(minibatch(data, size, np.random.default_rng(0)).labels, data.labels)
