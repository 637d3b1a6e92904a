"""A step on a quadratic model that is trusted within a radius, and the points around it that tell the most.

Conn, Scheinberg & Vicente 2009, "Introduction to Derivative-Free Optimization", chapters 6 and 10.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
BISECTIONS = 60
STEPS = (1.0, 2.0, 0.5)  # steps that are tried at once, in radii
SPREAD = 0.25  # distance of the points that explore, in radii


class Quadratic(NamedTuple):
    """gᵀs + sᵀHs/2, with H positive semidefinite."""

    gradient: Array  # (r,)
    hessian: Array  # (r, r)

    @classmethod
    def of(cls, sums: Array, r: int, damping: float) -> "Quadratic":
        """The mean over examples, from `design.quadratic_sums`, with a penalty of damping · ‖s‖² / 2."""
        count = max(sums[0], 1.0)
        upper = np.zeros((r, r))
        upper[np.triu_indices(r)] = sums[1 + r :] / count
        return cls(sums[1 : 1 + r] / count, upper + np.triu(upper, 1).T + damping * np.eye(r))

    def step(self, radius: float) -> Array:
        """The minimiser s (r,) with ‖s‖ ≤ radius."""
        values, vectors = np.linalg.eigh(self.hessian)
        values, slopes = np.maximum(values, 0), vectors.T @ self.gradient

        def at(shift: float) -> Array:
            return np.asarray(-slopes / np.maximum(values + shift, np.finfo(np.float32).tiny))

        low, high = 0.0, float(np.linalg.norm(slopes)) / radius  # the norm falls with the shift: at `high` it is inside
        if np.linalg.norm(at(low)) > radius:
            for _ in range(BISECTIONS):
                middle = (low + high) / 2
                low, high = (middle, high) if np.linalg.norm(at(middle)) > radius else (low, middle)
            low = high
        step: Array = vectors @ at(low)
        return step


def first_points(count: int, width: int, distance: float, rng: np.random.Generator) -> Array:
    """`count` points (count, width) along the axes: one side of each, then the other, then the first again."""
    axes, turns = np.arange(count) % width, np.arange(count) // width
    sides = rng.choice([-1.0, 1.0], width)[axes] * (-1.0) ** turns
    return np.asarray(distance * sides[:, None] * np.eye(width)[axes])


def lengths(count: int) -> tuple[float, ...]:
    """The lengths, in radii, of those of `count` points that are steps; they come first, and the others explore."""
    return STEPS[: max(1, min(len(STEPS), count // 2))]


def proposals(
    centre: Array, model: Quadratic, radius: float, gram: Array, count: int, rng: np.random.Generator
) -> Array:
    """`count` points (count, r): steps of several lengths, then points around the first step.

    These lie along the directions that the design `gram` (r, r), the sum of products of the differences that were asked
    about, says least about.
    """
    steps = [model.step(radius * length) for length in lengths(count)]
    directions = np.linalg.eigh(gram)[1].T  # those of the smallest eigenvalues first
    around = [directions[i % len(directions)] * rng.choice([-1.0, 1.0]) for i in range(count - len(steps))]
    found: Array = centre + np.array([*steps, *(steps[0] + SPREAD * radius * direction for direction in around)])
    return found
