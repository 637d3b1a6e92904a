"""A convex fit across clients in a handful of exchanges, on a surrogate of their loss.

The server knows a function that resembles the clients' loss. In each exchange it learns their loss and gradient at one
point, adds the linear term that gives the surrogate the same gradient there, and minimises it: the communication-
efficient surrogate likelihood of Jordan, Lee & Yang 2019 (JASA 114(526), eq. 6). What the earlier exchanges have shown
of the curvature is added as well, by symmetric updates of rank one (Nocedal & Wright 2006, eq. 6.24). [own combination]
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

Array = NDArray[np.float64]
Function = Callable[[Array], tuple[float, Array]]  # a value, and its gradient

ENOUGH = 1e-5  # nats: an expected gain that is worth no further exchange
SMALLEST = 1e-6  # relative denominator of an update that says anything
DAMPING = [0.0, *(1e-4 * 4.0 ** np.arange(12))]
OPTIONS = {"maxiter": 200, "ftol": 1e-12, "gtol": 1e-7}


class _Point(NamedTuple):
    loss: float
    weights: Array
    residual: Array  # the clients' gradient minus that of the surrogate


def least(function: Function, start: Array) -> tuple[float, Array]:
    """The minimum of a function, and where it is: a local one where it is not convex."""
    found = minimize(function, start, jac=True, method="L-BFGS-B", options=OPTIONS)
    return float(found.fun), found.x


def minimum(clients: Function, surrogate: Function, start: Array, max_evaluations: int) -> Array:
    """The weights of least loss among those at which `clients` was asked, at most `max_evaluations` times.

    `clients` and `surrogate` are convex losses (nats) of weights (m,), with the same regularisation. It ends early
    where the next step would gain less than `ENOUGH`.
    """
    weights = least(surrogate, start)[1]
    points: list[_Point] = []
    radius = np.inf
    while True:
        loss, gradient = clients(weights)
        points.append(_Point(loss, weights, gradient - surrogate(weights)[1]))
        best = min(points, key=lambda point: point.loss)
        if len(points) == max_evaluations:
            return best.weights
        radius *= 2 if best.weights is weights else 0.25
        model = _model(surrogate, best, [point for point in points if point is not best])
        weights = _step(model, best.weights, radius)
        radius = float(np.linalg.norm(weights - best.weights))
        if model(best.weights)[0] - model(weights)[0] < ENOUGH:
            return best.weights


def _model(surrogate: Function, best: _Point, others: list[_Point]) -> Function:
    """The surrogate with the clients' gradient at the best point, and their change of gradient towards the others."""
    vectors: list[Array] = []
    factors: list[float] = []
    for point in sorted(others, key=lambda point: -point.loss):
        step, change = point.weights - best.weights, point.residual - best.residual
        for vector, factor in zip(vectors, factors, strict=True):
            change = change - factor * (vector @ step) * vector
        if abs(change @ step) > SMALLEST * np.linalg.norm(change) * np.linalg.norm(step):
            vectors.append(change)
            factors.append(float(1 / (change @ step)))
    rows, scales = np.reshape(vectors, (-1, len(best.weights))), np.array(factors)

    def model(weights: Array) -> tuple[float, Array]:
        value, gradient = surrogate(weights)
        step = weights - best.weights
        along = rows @ step
        corrected = value + best.residual @ step + (scales * along) @ along / 2
        return float(corrected), gradient + best.residual + rows.T @ (scales * along)

    return model


def _step(model: Function, centre: Array, radius: float) -> Array:
    """Minimises the model, damped as far as it takes to stay within the radius; a model need not be convex."""
    for damping in DAMPING:

        def damped(weights: Array, damping: float = damping) -> tuple[float, Array]:
            value, gradient = model(weights)
            step = weights - centre
            return value + damping / 2 * float(step @ step), gradient + damping * step

        with np.errstate(over="ignore", invalid="ignore"):
            weights = least(damped, centre)[1]
            inside = np.linalg.norm(weights - centre) <= radius
        if np.isfinite(weights).all() and inside:
            return weights
    return centre
