import numpy as np
import pytest

from fedbbpt.algorithms.search_state import Search


@pytest.mark.parametrize(
    ("asked", "radii"), [(6, [0.5, 1.0, 2.0, 0.5, 1.0, 1.0, 1.0]), (4, [0.5, 1.0, 2.0, 1.0, 1.0]), (2, [0.5, 2.0, 1.0])]
)
def test_the_radius_follows_the_point_that_was_best(asked, radii):
    """The last ones explore: they say nothing of the radius."""
    for winner, radius in enumerate(radii):
        losses = np.where(np.arange(1 + asked) == winner, 1.0, 2.0)
        search = Search(np.zeros((3, 2)), 1.0, 1).after(np.array([0, 1]), np.ones((asked, 2)), losses, adapt=True)
        assert search.radius == radius
        assert search.best == (1 if winner == 0 else 2 + winner - 1)
        assert search.points.shape == (2 + asked, 2)


def test_the_radius_stays_within_its_limits_and_where_it_is_not_to_adapt():
    def radius_after(radius, losses, adapt=True):
        return Search(np.zeros((1, 2)), radius, 0).after(np.array([0]), np.ones((4, 2)), losses, adapt=adapt).radius

    assert radius_after(0.15, np.array([1.0, 2, 2, 2, 2])) == 0.1
    assert radius_after(1.5, np.array([2.0, 2, 1, 2, 2])) == 2.0
    assert radius_after(1.1, np.array([1.0, 2, 2, 2, 2]), adapt=False) == 1.1


def test_without_any_loss_the_best_point_stays():
    search = Search(np.zeros((2, 2)), 1.0, 1)
    assert search.after(np.array([0, 1]), np.ones((3, 2)), np.full(4, np.nan), adapt=True).best == 1


def test_a_search_is_arrays_and_back():
    search = Search(np.random.default_rng(0).normal(size=(3, 2)).astype(np.float32).astype(np.float64), 0.5, 2)
    again = Search.of(search.to_arrays())
    assert np.array_equal(again.points, search.points)
    assert again[1:] == search[1:]
