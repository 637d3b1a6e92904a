"""How much a readout's loss rises near its weights: at random, and uphill."""

import numpy as np
from numpy.typing import NDArray

from fedbbpt.readouts import ReadoutData
from fedbbpt.readouts.linear import LinearReadout
from fedbbpt.types import Floats

SHARPNESS = "sharpness"  # the handler that says it, and its name in a reply
RHO = 0.05  # ρ: the radius of the sharpness-aware presets
DIRECTIONS = 10  # drawn at random: five and their opposites, so that the slope cancels


def sharpness(
    readout: LinearReadout, weights: Floats, data: ReadoutData, rng: np.random.Generator
) -> NDArray[np.float64]:
    """The loss at a distance of ρ from the weights (m,), less that at the weights, nats; NaN without answers.

    Returns two numbers: the mean over ten random directions, and that at w + ρ ∇F(w) / ‖∇F(w)‖, which sharpness-aware
    steps keep low (Foret et al. 2021, arXiv 2010.01412, eq. 2). F is what a fit to these answers would minimise.
    """
    if not len(data.labels):
        return np.full(2, np.nan)
    here, gradient = readout.loss(weights, data)
    drawn = rng.standard_normal((DIRECTIONS // 2, len(weights)))
    directions = [*drawn, *-drawn, gradient]
    steps = [RHO * way / (np.linalg.norm(way) or 1.0) for way in directions]
    *at_random, uphill = (readout.loss(weights + step, data)[0] - here for step in steps)
    return np.array([np.mean(at_random), uphill])
