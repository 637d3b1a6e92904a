import numpy as np
import pytest

from fedbbpt.readouts.surrogate_likelihood import minimum


def quadratic(matrix, centre):
    return lambda x: (float((x - centre) @ matrix @ (x - centre)) / 2, matrix @ (x - centre))


def counted(function):
    asked = []

    def count(x):
        asked.append(x)
        return function(x)

    return count, asked


def test_the_clients_loss_itself_as_surrogate_needs_one_evaluation():
    function = quadratic(np.diag([1.0, 4.0]), np.array([1.0, -2.0]))
    clients, asked = counted(function)
    np.testing.assert_allclose(minimum(clients, function, np.zeros(2), 9), [1, -2], atol=1e-5)
    assert len(asked) == 1


def test_a_surrogate_with_another_minimum_needs_two():
    clients, asked = counted(quadratic(np.diag([1.0, 4.0]), np.array([1.0, -2.0])))
    surrogate = quadratic(np.diag([1.0, 4.0]), np.array([5.0, 5.0]))
    np.testing.assert_allclose(minimum(clients, surrogate, np.zeros(2), 9), [1, -2], atol=1e-4)
    assert len(asked) == 2


@pytest.mark.parametrize("factor", [0.2, 5])
def test_curvature_is_learned_from_what_was_asked(factor):
    matrix = np.diag(np.linspace(1, 4, 3))
    clients, asked = counted(quadratic(matrix, np.ones(3)))
    found = minimum(clients, quadratic(factor * matrix, -np.ones(3)), np.zeros(3), 20)
    np.testing.assert_allclose(found, 1, atol=0.01)
    assert len(asked) <= 9


def test_a_misleading_surrogate_leaves_the_best_that_was_asked():
    function = quadratic(50 * np.eye(2), np.ones(2))
    clients, asked = counted(function)
    found = minimum(clients, quadratic(np.eye(2), 3 * np.ones(2)), np.zeros(2), 2)
    assert len(asked) == 2
    assert function(asked[1])[0] > function(asked[0])[0]
    assert np.array_equal(found, min(asked, key=lambda x: function(x)[0]))
