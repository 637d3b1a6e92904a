"""What optimizers promise of a whole run: steps that can be rebuilt, losses that may be missing, states to hand on."""

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedbbpt.optim import Optimizer
from fedbbpt.testing.bowl import ONES, bowl, excess, make, noisy, nothing, steps
from fedbbpt.testing.expect import expect, refused


def check_replay(kind: type[Optimizer], **options: Any) -> None:
    """The same start and losses, in whatever precision, give the same bits; another seed goes another way."""
    for dtype in (np.float64, np.float32, np.float16):
        client, server = (make(kind, ONES, seed=3, **options) for _ in range(2))
        for _ in range(5):
            losses: Any = bowl(client.ask()).astype(dtype)
            client.tell(losses)
            server.ask()
            server.tell(losses.astype(np.float64))
        expect(np.array_equal(client.x, server.x), f"{np.dtype(dtype)} losses are enough to rebuild the steps")
        expect(np.array_equal(client.state, server.state), f"{np.dtype(dtype)} losses are enough to rebuild the state")
        expect(client.x.dtype == np.float64, f"x stays float64 after {np.dtype(dtype)} losses")
    one, other = (steps(make(kind, ONES, seed=seed, **options), 5) for seed in (3, 4))
    expect(not np.array_equal(one, other), "another seed goes another way")


def check_missing_losses(kind: type[Optimizer], **options: Any) -> None:
    """Single losses may be NaN or infinite; where none is known, x and state stay."""

    def holed(candidates: NDArray[Any]) -> NDArray[Any]:
        losses = bowl(candidates)
        losses[0], losses[-1] = np.nan, np.inf
        return losses

    optimizer = make(kind, ONES, **options)
    expect(bool(np.isfinite(steps(optimizer, 20, holed)).all()), "x stays finite where losses are missing")
    expect(bool(np.isfinite(optimizer.state).all()), "the state stays finite where losses are missing")
    optimizer = make(kind, ONES, **options)
    x, state = steps(optimizer, 1).copy(), optimizer.state.copy()
    expect(np.array_equal(steps(optimizer, 3, nothing), x), "x stays without any loss")
    expect(np.array_equal(optimizer.state, state), "the state stays without any loss")
    expect(not np.array_equal(steps(optimizer, 3), x), "x moves again once there are losses")


def check_minimises(kind: type[Optimizer], **options: Any) -> None:
    """300 steps on a noisy bowl in ten dimensions take nine tenths of the way, in one round or in many."""
    start = np.ones(10)
    for steps_a_round in (300, 1, 3):
        losses = noisy(np.random.default_rng(0))
        x, state = start, None
        for i in range(300 // steps_a_round):  # a new object a round; its state travels in float32
            optimizer = make(kind, x, seed=i, step=i * steps_a_round, state=state, **options)
            x = steps(optimizer, steps_a_round, losses)
            state = optimizer.state.astype(np.float32)
        left = excess(kind, x) / excess(kind, start)
        expect(left < 0.1, f"rounds of {steps_a_round} steps minimise a noisy bowl: {left:.0%} is left of the start")


def check_state(kind: type[Optimizer], **options: Any) -> None:
    """The state is a finite float64 vector of constant length that can be handed on and averaged."""
    made = partial(make, kind, ONES, **options)
    fresh, used = make(kind, np.zeros(6), **options), made(step=1000)
    expect(fresh.state.ndim == 1, "the state is a vector")
    for count in range(4):
        steps(used, count)
        expect(used.state.shape == fresh.state.shape, "the state has a constant length")
        expect(used.state.dtype == np.float64 and bool(np.isfinite(used.state).all()), "the state is finite float64")
    resumed = make(kind, used.x, seed=1, step=3, state=used.state, **options)
    for count in (0, 2):
        steps(resumed, count, nothing)
        same = np.array_equal(resumed.state, used.state) and np.array_equal(resumed.x, used.x)
        expect(same, "x and state are handed on as they came while nothing is learnt")
    none, given = made(seed=3), made(seed=3, state=made(seed=3).state)
    expect(np.array_equal(steps(none, 5), steps(given, 5)), "the initial state says the same as none")
    left = [made(seed=seed) for seed in range(3)]
    for optimizer in left:
        steps(optimizer, 3)
    mean = made(step=3, state=np.mean([optimizer.state for optimizer in left], 0))
    expect(bool(np.isfinite(mean.ask()).all()), "the mean of states is a state")
    m = len(fresh.state)
    for shape in ((m + 1,), (m, 1)):
        with refused(ValueError, f"a state of shape {shape} is refused", f"({m},)"):
            made(state=np.zeros(shape))
