"""An optimizer of your own: an evolution strategy that moves to the mean of the better half of its candidates.

Checks the contract of optimizers, then tunes a prompt of a toy task with it, beside `spsa-gc`: python own_optimizer.py.
In a package, register the class in setup.cfg, in the group fedbbpt.optimizers, as
`better-half = own_optimizer:BetterHalf`; then `fedbbpt train --optimizer better-half` finds it.
"""

from functools import partial

import numpy as np
from pydantic import PositiveFloat

from fedbbpt.algorithms.fedavg import FedAvg
from fedbbpt.optim import Count, OptimizerBase, OptimizerStart
from fedbbpt.optim.spsa import SpsaGC
from fedbbpt.testing import Simulation, Toy, check_optimizer


class BetterHalf(OptimizerBase):
    """Moves to the mean of the better half: "(μ/μ, λ)" of Rechenberg 1973, with steps of σ / √(1 + steps)."""

    def __init__(self, start: OptimizerStart, /, *, sigma: PositiveFloat = 0.7, population_size: Count = 8) -> None:
        super().__init__(start)
        self.population_size, self._sigma, self._step = population_size, sigma, start.step

    def ask(self) -> np.ndarray:
        """See `Optimizer`."""
        self._begin_ask()
        noise = self._rng.normal(size=(self.population_size, len(self.x)))
        self._candidates = self.x + self._sigma / np.sqrt(1 + self._step) * noise
        self._step += 1
        return self._candidates.copy()

    def tell(self, losses: np.ndarray) -> None:
        """See `Optimizer`; candidates without a loss are not among the better half."""
        losses = self._begin_tell(losses)
        order = np.argsort(losses, kind="stable")[: max(1, self.population_size // 2)]
        if len(better := order[np.isfinite(losses[order])]):
            self.x = self._candidates[better].mean(0)


if __name__ == "__main__":
    check_optimizer(BetterHalf)
    for kind in (BetterHalf, SpsaGC):
        toy = Toy(optimizer=kind)
        simulation = Simulation(partial(FedAvg, toy.context()), toy.objective, toy.clients)
        start, *_, end = simulation.states(20)
        first, last = (simulation.evaluate(state, "train").accuracy for state in (start, end))
        print(f"{kind.__name__:10} accuracy {first:.0%} at the start, {last:.0%} after 20 rounds")
