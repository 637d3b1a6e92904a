"""A client's steps in a round: SGD with momentum, on gradients at x or a little uphill of it (sharpness-aware)."""

import numpy as np

from fedbbpt.split_learning import passes
from fedbbpt.split_learning.protocol import Gradients, Part, SplitModel
from fedbbpt.split_learning.sgd import moved, norm_of, step_of
from fedbbpt.split_learning.transport import Transport
from fedbbpt.types import Batch, Float32, Parameters


class LocalSgd:
    """Steps s ← μ s − η g / max(1, ‖g‖), part by part as by `sgd_step`, and x ← x + s; with s = 0 before the first.

    Where ρ > 0, g is the gradient at x + ρ g′ / ‖g′‖, with g′ that at x and the norm over all trained parts together
    (sharpness-aware minimisation, Foret et al. 2021, arXiv 2010.01412): two passes per step.

    Args:
        model: in parts.
        trained: those that take steps.
        momentum: μ.
        rho: ρ.
    """

    def __init__(self, model: SplitModel, trained: frozenset[Part], momentum: float = 0.0, rho: float = 0.0) -> None:
        self._model, self._trained, self._momentum, self._rho = model, trained, momentum, rho
        self._last: Gradients = {}  # steps

    def step(self, parameters: Parameters, batch: Batch, transport: Transport, lr: float) -> tuple[Parameters, Float32]:
        """The parameters after a step of length at most `lr`, if without momentum, and the losses (b,) before it."""
        gradients, losses = passes.gradients(self._model, self._trained, parameters, batch, transport)
        if self._rho and (length := norm_of(*gradients.values())) > 0:
            uphill = moved(parameters, {part: g * np.float32(self._rho / length) for part, g in gradients.items()})
            gradients, _ = passes.gradients(self._model, self._trained, uphill, batch, transport)
        steps = {part: step_of(gradient, lr) for part, gradient in gradients.items()}
        if self._momentum:
            for part, before in self._last.items():
                steps[part] += np.float32(self._momentum) * before
            self._last = {part: step.copy() for part, step in steps.items()}
        return moved(parameters, steps), losses
