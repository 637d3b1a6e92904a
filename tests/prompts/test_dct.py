import numpy as np
import pytest

from fedbbpt.errors import ConfigError
from fedbbpt.prompts.dct import Dct

SIZE = (16, 24)


def pictures(prompt, theta):
    """What the prompt adds to a grey image: (n, 3, h, w)."""
    return prompt.apply(theta, np.full((1, 3, *SIZE), 0.5, np.float32), None) - np.float32(0.5)


def test_lowest_coefficient_is_a_constant_offset():
    prompt = Dct(SIZE, epsilon=0.1)
    theta = np.zeros((1, prompt.dim))
    theta[0, 36] = 1.5  # the first of the second channel
    added = pictures(prompt, theta)[0]
    assert np.allclose(added[1], 0.15 / 6, atol=1e-6)
    assert not added[[0, 2]].any()


def test_random_signs_move_pixels_by_epsilon_in_the_root_mean_square():
    prompt = Dct(SIZE, epsilon=0.01, frequencies=4)
    added = pictures(prompt, np.random.default_rng(0).choice([-1.0, 1.0], (5, 48)))
    assert np.allclose(np.sqrt((added**2).mean((1, 2, 3))), 0.01, atol=1e-6)


def test_coefficients_are_cosines_of_rows_and_columns():
    prompt = Dct(SIZE, epsilon=0.1, frequencies=3)
    theta = np.zeros((1, 27))
    theta[0, 1 * 3 + 2] = 1.0
    y, x = (np.arange(n) + 0.5 for n in SIZE)
    expected = 0.1 * 2 / 3 * np.cos(np.pi * y / 16)[:, None] * np.cos(2 * np.pi * x / 24)
    assert np.allclose(pictures(prompt, theta)[0, 0], expected, atol=1e-6)


def test_coefficients_are_independent():
    flat = pictures(Dct(SIZE, epsilon=0.01), np.eye(108)).reshape(108, -1).astype(np.float64)
    gram = flat @ flat.T
    assert np.allclose(gram, np.diag(np.diag(gram)), atol=1e-6)


def test_more_frequencies_than_pixels_are_refused():
    with pytest.raises(ConfigError, match="17 frequencies do not fit into 16×24"):
        Dct(SIZE, frequencies=17)
    assert Dct(SIZE, frequencies=16).dim == 3 * 256
