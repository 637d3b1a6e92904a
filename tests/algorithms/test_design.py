import numpy as np
import pytest
from scipy.special import log_softmax

from fedbbpt.algorithms.design import directions, nearest, quadratic_sums, slopes


@pytest.mark.parametrize(("count", "dimension"), [(13, 13), (8, 13), (60, 1000)])
def test_directions_are_orthogonal_and_one_long_in_each_coordinate(count, dimension):
    rows = directions(3, count, dimension)
    np.testing.assert_allclose(rows @ rows.T / dimension, np.eye(count), atol=1e-9)


def test_directions_stay_as_more_come():
    np.testing.assert_allclose(directions(3, 20, 50)[:7], directions(3, 7, 50), atol=1e-9)
    assert not np.allclose(directions(4, 7, 50), directions(3, 7, 50))


def test_slopes_of_linear_answers_are_found():
    rng = np.random.default_rng(0)
    points, true = np.concatenate([np.zeros((1, 3)), rng.normal(size=(60, 3))]), rng.normal(size=(3, 5))
    found = slopes(points, points[0], 5.0) @ (points @ true)
    np.testing.assert_allclose(found, true, atol=0.05)


def test_a_direction_that_nobody_asked_about_has_no_slope():
    points = np.array([[0.0, 0], [1, 0], [-1, 0]])
    assert not slopes(points, points[0], 1.0)[1].any()


def linear_log_probabilities(points, seed=0):
    """Log-probabilities (n, N, K) of logits that are linear in the points, labels (N,) and the logits' slopes."""
    rng = np.random.default_rng(seed)
    base, z, labels = rng.normal(size=(20, 3)), rng.normal(size=(20, 3, 2)), rng.integers(0, 3, 20)
    return log_softmax(base + np.einsum("nkr,mr->mnk", z, points), -1), labels, (base, z)


def test_the_quadratic_model_has_the_losss_gradient_and_gauss_newton_matrix():
    points = np.concatenate([np.zeros((1, 2)), 1e-4 * np.random.default_rng(1).normal(size=(9, 2))])
    log_p, labels, (_, z) = linear_log_probabilities(points)
    count, *numbers = quadratic_sums(log_p, labels, points, 0, 1e-3)
    p = np.exp(log_p[0])
    gradient = np.einsum("nk,nkr->r", p - np.eye(3)[labels], z)
    curvature = p[:, :, None] * np.eye(3) - p[:, :, None] * p[:, None]
    hessian = np.einsum("nkr,nkl,nls->rs", z, curvature, z)
    assert count == 20
    np.testing.assert_allclose(numbers, [*gradient, *hessian[np.triu_indices(2)]], rtol=0.02, atol=0.02)


def test_sums_of_clients_are_those_of_all_their_examples():
    points = np.random.default_rng(1).normal(size=(6, 2))
    log_p, labels, _ = linear_log_probabilities(points)
    parts = [quadratic_sums(log_p[:, part], labels[part], points, 2, 1.0) for part in (slice(7), slice(7, None))]
    np.testing.assert_allclose(np.sum(parts, 0), quadratic_sums(log_p, labels, points, 2, 1.0))


def test_failed_queries_count_for_nothing():
    points = np.random.default_rng(1).normal(size=(6, 2))
    log_p, labels, _ = linear_log_probabilities(points)
    log_p[2, [3, 5]] = np.nan  # at the best point: these examples are left out
    log_p[4] = np.nan  # a point without any answer
    sums, kept = quadratic_sums(log_p, labels, points, 2, 1.0), np.delete(np.arange(20), [3, 5])
    assert sums[0] == 18
    assert np.isfinite(sums).all()
    log_p[4] = log_p[2]  # as if it had changed nothing
    np.testing.assert_allclose(sums, quadratic_sums(log_p[:, kept], labels[kept], points, 2, 1.0))


def test_the_nearest_points_keep_their_order():
    points = np.array([[0.0], [5], [1], [3], [2]])
    assert nearest(points, 2, 3).tolist() == [0, 2, 4]
