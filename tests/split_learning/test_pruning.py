import numpy as np
import pytest

from fedbbpt.split_learning.pruning import el2n, hardest


def test_el2n_is_the_length_of_the_error():
    probabilities = np.array([[1, 0, 0], [0.5, 0.5, 0], [0, 0.6, 0.4]], np.float32)
    assert el2n(probabilities, np.array([0, 0, 0])) == pytest.approx([0, 0.5**0.5, (1 + 0.36 + 0.16) ** 0.5])
    assert probabilities[0].tolist() == [1, 0, 0]  # left as they were


def test_of_equal_errors_any_are_kept():
    errors = np.array([1.0, 2.0, 1.0, 1.0, 1.0])
    kept = [hardest(errors, 3, np.random.default_rng(seed)).tolist() for seed in range(20)]
    assert all(sorted(rows) == rows and len(rows) == 3 and 1 in rows for rows in kept)
    assert {row for rows in kept for row in rows} == {0, 1, 2, 3, 4}
