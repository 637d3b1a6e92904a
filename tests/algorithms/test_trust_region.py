import numpy as np
import pytest
from scipy.optimize import minimize

from fedbbpt.algorithms.trust_region import Quadratic, Search, proposals


def quadratic(r=5, seed=0):
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(r, r - 1))  # one direction without curvature
    return Quadratic(rng.normal(size=r), root @ root.T)


@pytest.mark.parametrize("radius", [0.1, 1.0, 5.0])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_step_is_the_least_value_within_the_radius(seed, radius):
    model = quadratic(seed=seed)

    def value(s):
        return model.gradient @ s + s @ model.hessian @ s / 2

    inside = {"type": "ineq", "fun": lambda s: radius**2 - s @ s}
    expected = minimize(value, np.zeros(5), constraints=inside, method="SLSQP", options={"maxiter": 500}).fun
    step = model.step(radius)
    assert np.linalg.norm(step) <= radius * (1 + 1e-9)
    assert value(step) <= expected + 1e-5


def test_a_step_inside_the_radius_is_newtons():
    model = Quadratic(np.array([1.0, -2.0]), np.diag([2.0, 4.0]))
    np.testing.assert_allclose(model.step(10.0), [-0.5, 0.5])


def test_without_a_slope_there_is_no_step():
    assert not quadratic()._replace(gradient=np.zeros(5)).step(1.0).any()


def test_the_model_is_the_mean_over_examples_with_the_damping():
    model = Quadratic.of(np.array([4.0, 8, -4, 4, 2, 12]), 2, damping=0.5)
    np.testing.assert_allclose(model.gradient, [2, -1])
    np.testing.assert_allclose(model.hessian, [[1.5, 0.5], [0.5, 3.5]])


def test_proposals_are_steps_and_points_where_the_design_says_least():
    model, rng = Quadratic(np.array([1.0, 0, 0]), np.eye(3)), np.random.default_rng(0)
    found = proposals(np.ones(3), model, 0.4, np.diag([9.0, 1.0, 4.0]), 6, rng) - 1
    np.testing.assert_allclose(found[:3], [[-0.4, 0, 0], [-0.2, 0, 0], [-0.8, 0, 0]])
    np.testing.assert_allclose(np.abs(found[3:] - found[0]), 0.1 * np.eye(3)[[1, 2, 0]])


@pytest.mark.parametrize(("winner", "radius"), [(0, 0.5), (1, 1.0), (2, 0.5), (3, 2.0), (4, 1.0)])
def test_the_radius_follows_the_point_that_was_best(winner, radius):
    losses = np.where(np.arange(5) == winner, 1.0, 2.0)
    search = Search(np.zeros((3, 2)), 1.0, 1).after(np.array([0, 1]), np.ones((4, 2)), losses, adapt=True)
    assert search.radius == radius
    assert search.best == (1 if winner == 0 else 2 + winner - 1)
    assert search.points.shape == (6, 2)


def test_the_radius_stays_within_its_limits_and_where_it_is_not_to_adapt():
    def radius_after(radius, losses, adapt=True):
        return Search(np.zeros((1, 2)), radius, 0).after(np.array([0]), np.ones((3, 2)), losses, adapt=adapt).radius

    assert radius_after(0.15, np.array([1.0, 2, 2, 2])) == 0.1
    assert radius_after(1.5, np.array([2.0, 2, 2, 1])) == 2.0
    assert radius_after(1.1, np.array([1.0, 2, 2, 2]), adapt=False) == 1.1


def test_without_any_loss_the_best_point_stays():
    search = Search(np.zeros((2, 2)), 1.0, 1)
    assert search.after(np.array([0, 1]), np.ones((3, 2)), np.full(4, np.nan), adapt=True).best == 1


def test_a_search_is_arrays_and_back():
    search = Search(np.random.default_rng(0).normal(size=(3, 2)).astype(np.float32).astype(np.float64), 0.5, 2)
    again = Search.of(search.to_arrays())
    assert np.array_equal(again.points, search.points)
    assert again[1:] == search[1:]
