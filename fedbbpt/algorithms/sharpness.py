"""How much a loss rises near parameters: at random, and uphill, which sharpness-aware steps keep low."""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from fedbbpt.readouts import ReadoutData
from fedbbpt.readouts.linear import LinearReadout
from fedbbpt.types import Floats

Float64 = NDArray[np.float64]

SHARPNESS, PROMPT_SHARPNESS = "sharpness", "prompt_sharpness"  # in a reply; the first is the handler's name, too
RHO = 0.05  # ρ: the radius of the sharpness-aware presets
PROMPT_RHO = 0.1  # that of a prompt, per coordinate
DIRECTIONS = 10  # drawn at random: five and their opposites, so that the slope cancels
POINTS = DIRECTIONS + 2  # at which a loss is measured: also here, and uphill


def sharpness(readout: LinearReadout, weights: Floats, data: ReadoutData, rng: np.random.Generator) -> Float64:
    """The loss at a distance of ρ from the weights (m,), less that at the weights, nats; NaN without answers.

    Returns two numbers: the mean over ten random directions, and that at w + ρ ∇F(w) / ‖∇F(w)‖, which sharpness-aware
    steps keep low (Foret et al. 2021, arXiv 2010.01412, eq. 2). F is what a fit to these answers would minimise.
    """
    if not len(data.labels):
        return np.full(2, np.nan)
    here, gradient = readout.loss(weights, data)
    steps = [*_around(len(weights), RHO, rng), _along(gradient, RHO)]
    *at_random, uphill = (readout.loss(weights + step, data)[0] - here for step in steps)
    return np.array([np.mean(at_random), uphill])


def prompt_sharpness(losses: Callable[[Floats], Float64], theta: Floats, rng: np.random.Generator) -> Float64:
    """As `sharpness`, for a prompt (d,), from the answers under twelve candidates alone.

    Args:
        losses: those (n,) of candidates (n, d), nats.
        theta: the prompt; ρ is .1 √d.
        rng: draws the random directions. Their losses also estimate the gradient that points uphill, as two-point
            estimates do; where d is large, they know little of it, and the second number is too low.
    """
    rho = PROMPT_RHO * math.sqrt(len(theta))
    steps = _around(len(theta), rho, rng)
    at_random = losses(theta + steps)
    half = DIRECTIONS // 2
    gradient = (at_random[:half] - at_random[half:]) @ steps[:half]
    here, uphill = losses(theta + np.stack([np.zeros(len(theta)), _along(gradient, rho)]))
    return np.array([at_random.mean() - here, uphill - here])


def _around(size: int, rho: float, rng: np.random.Generator) -> Float64:
    """Steps of length ρ in random directions, then those in the opposite ones."""
    drawn = rng.standard_normal((DIRECTIONS // 2, size))
    return np.stack([_along(way, rho) for way in (*drawn, *-drawn)])


def _along(way: Float64, rho: float) -> Float64:
    return rho * way / (np.linalg.norm(way) or 1.0)
