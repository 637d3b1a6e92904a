"""A bowl for optimizers: losses that grow with the squared distance to one point."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedbbpt.optim import Optimizer, OptimizerStart, Space
from fedbbpt.types import Floats

Losses = Callable[[NDArray[np.float64]], NDArray[np.float64]]  # candidates (n, d) -> losses (n,)
ONES = np.ones(6)


def make(
    kind: type[Optimizer], x: Floats, /, *, seed: int = 0, step: int = 0, state: Floats | None = None, **options: Any
) -> Optimizer:
    """An optimizer at x; a categorical one gets as few choices at a position as the dimension allows."""
    built: Any = kind
    space = Space(_choices(len(x))) if kind.categorical else Space()
    optimizer: Optimizer = built(OptimizerStart(x, np.random.default_rng(seed), step, state, space), **options)
    return optimizer


def steps(optimizer: Optimizer, count: int, losses: Losses | None = None) -> NDArray[np.float64]:
    """x after so many turns of ask and tell, on the bowl by default."""
    for _ in range(count):
        optimizer.tell((losses or bowl)(optimizer.ask()))
    return optimizer.x


def bowl(candidates: NDArray[Any]) -> NDArray[Any]:
    """Losses (n,) of candidates (n, d): of standard deviation 1 around a point at a distance of 1 in 10 dimensions."""
    losses: NDArray[Any] = 0.3 * ((candidates - _lowest(candidates.shape[1])) ** 2).sum(1)
    return losses


def exact(candidates: NDArray[Any]) -> NDArray[Any]:
    """The bowl in so few bits that a level, added to all losses, changes no difference."""
    return np.round(2**10 * bowl(candidates)) / 2**10


def noisy(rng: np.random.Generator) -> Losses:
    """The bowl with noise of standard deviation 0.1."""
    return lambda candidates: bowl(candidates) + 0.1 * rng.normal(size=len(candidates))


def nothing(candidates: NDArray[Any]) -> NDArray[Any]:
    """No loss is known."""
    return np.full(len(candidates), np.nan)


def excess(kind: type[Optimizer], x: Floats) -> float:
    """How far above its lowest the bowl is at x; of a categorical optimizer, at the choices that x prefers."""
    ends = np.stack([x, _lowest(len(x))])
    if kind.categorical:
        choices = _choices(len(x))
        ends = np.eye(choices)[ends.reshape(2, -1, choices).argmax(2)].reshape(2, -1)
    here, lowest = bowl(ends)
    return float(here - lowest)


def _choices(d: int) -> int:
    return next((count for count in range(2, d + 1) if d % count == 0), 1)


def _lowest(d: int) -> NDArray[Any]:
    return np.arange(d) % 2 * 2.0  # 0 and 2 by turns, so that choices differ as well
