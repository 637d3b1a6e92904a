"""What a server makes of the clients' mean change of θ: it adds it, or takes it for a gradient."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedbbpt.types import Float32

BETA, BETA1, BETA2, TAU = 0.9, 0.9, 0.99, 1e-3  # of the two papers; τ belongs to θ's units, of which a step is about ¼

Memory = Mapping[str, Float32]


class ServerStep(NamedTuple):
    """How θ moves, and what the server keeps in mind."""

    step: NDArray[np.float64]  # (d,)
    memory: Memory


def mean(change: NDArray[np.float64], memory: Memory, rate: float) -> ServerStep:
    """θ ← θ + η Δ (McMahan et al. 2017)."""
    return ServerStep(rate * change, {})


def momentum(change: NDArray[np.float64], memory: Memory, rate: float) -> ServerStep:
    """v ← β v + Δ, θ ← θ + η v ("FedAvgM": Hsu et al. 2019, arXiv 1909.06335)."""
    velocity = BETA * memory.get("velocity", 0.0) + change
    return ServerStep(rate * velocity, {"velocity": velocity.astype(np.float32)})


def adam(change: NDArray[np.float64], memory: Memory, rate: float) -> ServerStep:
    """m ← β₁ m + (1−β₁) Δ, v ← β₂ v + (1−β₂) Δ², θ ← θ + η m / (√v + τ) ("FedAdam": Reddi et al. 2021, 2003.00295)."""
    first = BETA1 * memory.get("first", 0.0) + (1 - BETA1) * change
    second = BETA2 * memory.get("second", np.float32(TAU**2)) + (1 - BETA2) * change**2
    step = rate * first / (np.sqrt(second) + TAU)
    return ServerStep(step, {"first": first.astype(np.float32), "second": second.astype(np.float32)})


RULES: dict[str, Callable[[NDArray[np.float64], Memory, float], ServerStep]] = {
    "mean": mean,
    "momentum": momentum,
    "adam": adam,
}
RATES = {"mean": 1.0, "momentum": 0.3, "adam": 0.1}  # η, where none is given
