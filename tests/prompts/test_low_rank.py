import numpy as np
import pytest

from fedbbpt.prompts.low_rank import LowRank

SIZE = (16, 24)


def grey(size=SIZE):
    return np.full((1, 3, *size), 0.5, np.float32)


def added(prompt, theta, size=SIZE):
    """What the prompt adds to a grey image: (n, 3, h, w)."""
    return prompt.apply(theta, grey(size), None) - np.float32(0.5)


def test_picture_is_a_sum_of_coloured_products():
    prompt = LowRank((4, 6), epsilon=0.01, rank=2)
    theta = np.random.default_rng(0).normal(size=(2, prompt.dim))
    expected = np.zeros((2, 3, 4, 6))
    for n in range(2):
        u, v, s = theta[n, :8].reshape(4, 2), theta[n, 8:20].reshape(6, 2), theta[n, 20:].reshape(3, 2)
        for c, y, x, r in np.ndindex(3, 4, 6, 2):
            expected[n, c, y, x] += 0.01 * s[c, r] * u[y, r] * v[x, r] / np.sqrt(2)
    assert prompt.dim == 26
    assert np.allclose(added(prompt, theta, (4, 6)), expected, atol=1e-6)


def test_long_sides_are_drawn_on_few_points_and_interpolated():
    prompt = LowRank(SIZE, rank=1, resolution=4)
    theta = np.ones((1, prompt.dim))
    theta[0, :4] = [0, 0, 1, 0]  # one point of the column
    profile = added(prompt, theta)[0, 0, :, 12]  # points at rows 1.5, 5.5, 9.5 and 13.5
    expected = (1 - np.abs(np.arange(16) - 9.5) / 4).clip(0)
    assert prompt.dim == 4 + 4 + 3
    assert np.allclose(profile / profile.max(), expected / expected.max(), atol=1e-5)


def test_default_is_105_numbers_at_any_large_size():
    assert LowRank((70, 70)).dim == LowRank((224, 160)).dim == 105


@pytest.mark.parametrize("options", [{}, {"rank": 8, "resolution": 5}])
def test_random_signs_move_pixels_by_epsilon_in_the_root_mean_square(options):
    prompt = LowRank(SIZE, epsilon=0.01, **options)
    moved = added(prompt, np.random.default_rng(0).choice([-1.0, 1.0], (400, prompt.dim)))
    assert np.sqrt((moved.astype(np.float64) ** 2).mean()) == pytest.approx(0.01, rel=0.05)


def test_rank_is_at_most_the_option():
    prompt = LowRank(SIZE, epsilon=0.01, rank=2)
    theta = np.random.default_rng(0).normal(size=(1, prompt.dim))
    ranks = [np.linalg.matrix_rank(channel, tol=1e-5) for channel in added(prompt, theta)[0]]
    assert ranks == [2, 2, 2]


def test_start_is_the_image_but_a_step_of_any_colour_shows():
    prompt = LowRank(SIZE)
    start = prompt.init(np.random.default_rng(0))
    assert not added(prompt, start[None]).any()
    steps = start + np.eye(prompt.dim)[-9:]
    assert (np.abs(added(prompt, steps)).max((1, 2, 3)) > 0.01).all()
