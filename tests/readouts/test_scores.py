import numpy as np

from fedbbpt.readouts import cross_entropy


def test_cross_entropy_picks_the_true_class():
    log_p = np.log([[[0.5, 0.25, 0.25], [0.1, 0.2, 0.7]]])
    assert np.allclose(cross_entropy(log_p, np.array([1, 2])), [[np.log(4), -np.log(0.7)]])
