"""Server optimizers: apply the clients' mean change of θ as it is, or as a pseudo-gradient (FedOpt)."""

from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedbbpt.types import Float32

BETA, BETA1, BETA2, TAU = 0.9, 0.9, 0.99, 1e-3  # as in the papers; τ is in units of θ, where a step is about ¼

ServerOptimizer = Literal["mean", "momentum", "adam"]
OptState = Mapping[str, Float32]


class ServerUpdate(NamedTuple):
    """The step on θ, and the server optimizer's next state."""

    step: NDArray[np.float64]  # (d,)
    opt_state: OptState


def mean(change: NDArray[np.float64], opt_state: OptState, lr: float) -> ServerUpdate:
    """θ ← θ + η Δ (McMahan et al. 2017)."""
    return ServerUpdate(lr * change, {})


def momentum(change: NDArray[np.float64], opt_state: OptState, lr: float) -> ServerUpdate:
    """v ← β v + Δ, θ ← θ + η v ("FedAvgM": Hsu et al. 2019, arXiv 1909.06335)."""
    velocity = BETA * opt_state.get("velocity", 0.0) + change
    return ServerUpdate(lr * velocity, {"velocity": velocity.astype(np.float32)})


def adam(change: NDArray[np.float64], opt_state: OptState, lr: float) -> ServerUpdate:
    """m ← β₁ m + (1−β₁) Δ, v ← β₂ v + (1−β₂) Δ², θ ← θ + η m / (√v + τ) ("FedAdam": Reddi et al. 2021, 2003.00295)."""
    first = BETA1 * opt_state.get("first", 0.0) + (1 - BETA1) * change
    second = BETA2 * opt_state.get("second", np.float32(TAU**2)) + (1 - BETA2) * change**2
    step = lr * first / (np.sqrt(second) + TAU)
    return ServerUpdate(step, {"first": first.astype(np.float32), "second": second.astype(np.float32)})


RULES: Mapping[ServerOptimizer, Callable[[NDArray[np.float64], OptState, float], ServerUpdate]] = {
    "mean": mean,
    "momentum": momentum,
    "adam": adam,
}
DEFAULT_LR: Mapping[ServerOptimizer, float] = {"mean": 1.0, "momentum": 0.3, "adam": 0.1}  # η if `server_lr` is unset
