"""Gradient steps on a readout, whose gradient is exact: at x, or a little uphill of it (sharpness-aware)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedbbpt.readouts import Readout, ReadoutData
from fedbbpt.readouts.linear import LinearReadout
from fedbbpt.types import Floats


@dataclass(frozen=True)
class ReadoutSteps:
    """Full-batch steps w ← w − η v, with v ← μ v + ∇F(w + ρ ∇F(w) / ‖∇F(w)‖) and v = 0 before the first.

    ρ > 0 is sharpness-aware minimisation (Foret et al. 2021, arXiv 2010.01412). F is the loss that the readout's fit
    minimises, of this client's answers.

    Attributes:
        readout: a linear one, or one without weights.
        steps: how many; none where nothing is trained, or the client has no answers.
        lr: η in units of the inverse of the gradient's Lipschitz constant (see `LinearReadout.curvature`), so that
            steps of 1 never raise the loss, whatever the scale of the scores.
        momentum: μ.
        rho: ρ.
    """

    readout: Readout
    steps: int
    lr: float
    momentum: float = 0.0
    rho: float = 0.0

    def taken(self, weights: Floats, data: ReadoutData) -> NDArray[np.float64]:
        """The weights (m,) after all steps."""
        w, velocity = np.array(weights, np.float64), np.zeros(len(weights))
        if not isinstance(self.readout, LinearReadout) or not len(data.labels):
            return w
        lr = self.lr / self.readout.curvature(data, self.readout.num_prompts(w))
        for _ in range(self.steps):
            gradient = self.readout.loss(w, data)[1]
            if self.rho and (length := np.linalg.norm(gradient)) > 0:
                gradient = self.readout.loss(w + self.rho * gradient / length, data)[1]
            velocity = self.momentum * velocity + gradient
            w = w - lr * velocity
        return w
