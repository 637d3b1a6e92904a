import numpy as np
import pytest

from fedbbpt.prompts.reprogram import Reprogram

SIZE = (8, 12)
WINDOW = np.s_[..., 1:7, 1:10]  # 6 × 9


@pytest.fixture
def inputs():
    return np.random.default_rng(0).uniform(size=(2, 3, *SIZE)).astype(np.float32)


def shrunk(image):
    """Area average of (8, 12) to (6, 9): every pixel cut into 3 × 3, every 4 × 4 of these averaged."""
    return np.kron(image, np.ones((3, 3))).reshape(6, 4, 9, 4).mean((1, 3))


def test_window_holds_the_whole_image_averaged(inputs):
    prompt = Reprogram(SIZE)
    prompted = prompt.apply(np.zeros((1, prompt.dim)), inputs, None)
    for image, expected in zip(prompted[WINDOW].reshape(6, 6, 9), inputs.reshape(6, *SIZE), strict=True):
        assert np.allclose(image, shrunk(expected), atol=1e-6)


def test_border_is_grey_plus_epsilon_times_theta(inputs):
    prompt = Reprogram(SIZE, epsilon=0.2)
    theta = np.random.default_rng(1).normal(0, 2, (2, prompt.dim))
    prompted = prompt.apply(theta, inputs, None).reshape(2, 2, 3, *SIZE)
    for n in range(2):
        rest = iter(theta[n])
        for c, y, x in np.ndindex(3, *SIZE):
            if not (1 <= y < 7 and 1 <= x < 10):
                expected = min(max(0.5 + 0.2 * next(rest), 0), 1)
                assert prompted[n, :, c, y, x] == pytest.approx(expected, abs=1e-6)
        assert next(rest, None) is None


def test_border_does_not_depend_on_the_image_nor_the_window_on_theta(inputs):
    prompt = Reprogram(SIZE)
    prompted = prompt.apply(np.random.default_rng(1).normal(size=(2, prompt.dim)), inputs, None)
    assert np.array_equal(prompted[0][WINDOW], prompted[2][WINDOW])
    prompted[WINDOW] = 0
    assert np.array_equal(prompted[0], prompted[1])
    assert not np.array_equal(prompted[0], prompted[2])


@pytest.mark.parametrize("size", [(8, 8), (5, 9), (2, 3)])
@pytest.mark.parametrize("image_scale", [0.01, 0.5, 0.999])
def test_there_is_always_a_window_and_a_border(size, image_scale):
    prompt = Reprogram(size, image_scale=image_scale)
    assert 0 < prompt.dim < 3 * size[0] * size[1]
    white = prompt.apply(np.full((1, prompt.dim), -100.0), np.ones((1, 3, *size), np.float32), None)
    assert (white == 0).sum() == prompt.dim
    assert np.allclose(white[white > 0], 1)
