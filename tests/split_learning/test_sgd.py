import numpy as np
import pytest

from fedbbpt.split_learning.sgd import sgd_step


def test_no_part_moves_further_than_the_learning_rate():
    rng = np.random.default_rng(0)
    start = {"tail": rng.normal(size=50).astype(np.float32), "classifier": np.zeros(9, np.float32)}
    gradients = {"tail": rng.normal(size=50).astype(np.float32) * 10, "classifier": np.full(9, 0.1, np.float32)}
    after = sgd_step(start, gradients, 0.2)
    assert np.linalg.norm(after["tail"] - start["tail"]) == pytest.approx(0.2, rel=1e-5)
    assert after["classifier"] == pytest.approx(-0.02 * np.ones(9))
