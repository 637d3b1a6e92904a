"""Estimates of the slope at the plane's start, beside the true one."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedbbpt.algorithms.design import directions, quadratic_sums
from fedbbpt.algorithms.trust_region import first_points
from fedbbpt.optim import OptimizerStart
from fedbbpt.optim.spsa import SpsaGC
from fedbbpt_benchmarks.experiments.box import OpenBox
from fedbbpt_benchmarks.experiments.estimators.plane import DATA_SEED, Point, opened, rounded

POINTS, FIRST_STEP, RADIUS = 4, 0.7, 1.1  # newton's own
Array = NDArray[np.float64]


class Slopes(NamedTuple):
    """Gradients by contrast and size (nats per unit of θ)."""

    true: Point  # differences between both sides of the start, all images
    clients: list[tuple[int, float, float]]  # a client's number of images, and its estimate from one direction
    newton: Point


def slopes() -> Slopes:
    """All gradients at the start."""
    box, _ = opened("SPSA-GC", DATA_SEED)
    start, rng = box.start, np.random.default_rng(DATA_SEED)
    true = [(box.loss(start + side) - box.loss(start - side)) / 2 for side in np.eye(len(start))]
    clients = []
    for share in box.shares:
        plus, minus = SpsaGC(OptimizerStart(start, rng, clients=len(box.shares))).ask()
        estimate = (box.losses(plus, share).mean() - box.losses(minus, share).mean()) / (plus - minus)
        clients.append((len(share), *rounded(estimate)))
    return Slopes(rounded(true), clients, rounded(newton(box)))


def newton(box: OpenBox) -> Array:
    """The gradient of `newton`'s model (2,) from the start and points around it."""
    dim, data = len(box.start), box.everything.batch(slice(None))
    rows = directions(DATA_SEED, dim, dim)
    around = first_points(POINTS, dim, FIRST_STEP, np.random.default_rng(DATA_SEED))
    points = np.concatenate([np.zeros((1, dim)), around])
    objective = box.simulation.objective
    scores = objective.answers((box.start + points @ rows).astype(np.float32), data)
    log_p = objective.readout.log_probabilities(np.zeros(0), scores)
    sums = quadratic_sums(log_p, data.labels, points, 0, RADIUS)
    gradient: Array = rows.T @ sums[1 : 1 + dim] / sums[0] / dim  # rows are orthogonal, of squared length d
    return gradient
