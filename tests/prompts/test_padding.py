import numpy as np
import pytest

from fedbbpt.prompts.padding import Padding


def grey(count, size):
    return np.full((count, 3, *size), 0.5, np.float32)


def test_default_width_is_thirty_of_224_pixels():
    assert Padding((224, 224)).dim == 3 * (224**2 - 164**2)


def test_inside_stays_and_border_moves():
    prompt = Padding((16, 24), width=0.25)
    prompted = prompt.apply(np.ones((1, prompt.dim)), grey(2, (16, 24)), None)
    assert (prompted[:, :, 4:12, 4:20] == 0.5).all()
    prompted[:, :, 4:12, 4:20] = 0.6
    assert np.allclose(prompted, 0.6)


def test_every_parameter_moves_one_pixel_of_one_channel_by_epsilon():
    prompt = Padding((5, 7), epsilon=0.2)
    moved = prompt.apply(np.eye(prompt.dim), grey(1, (5, 7)), None) - np.float32(0.5)
    assert np.allclose(np.sort(moved.reshape(prompt.dim, -1))[:, -1], 0.2)
    assert (np.count_nonzero(moved.reshape(prompt.dim, -1), axis=1) == 1).all()
    assert np.count_nonzero(moved.sum(0)) == prompt.dim


def test_at_least_one_pixel_wide():
    assert Padding((4, 4), width=0.01).dim == 3 * 12


@pytest.mark.parametrize("size", [(6, 6), (7, 7), (6, 9)])
def test_half_the_shorter_side_covers_nearly_all(size):
    assert Padding(size, width=0.5).dim >= 3 * (size[0] * size[1] - max(size))
