import numpy as np
import pytest
from scipy.optimize import minimize

from fedbbpt.algorithms.trust_region import Quadratic, proposals


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
    np.testing.assert_allclose(found[:3], [[-0.4, 0, 0], [-0.8, 0, 0], [-0.2, 0, 0]])
    np.testing.assert_allclose(np.abs(found[3:] - found[0]), 0.1 * np.eye(3)[[1, 2, 0]])
