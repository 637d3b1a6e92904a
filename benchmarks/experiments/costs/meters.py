"""Meters of what the client and the server do, each for itself: FLOPs and time; see `memory` for its own."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from torch.utils.flop_counter import FlopCounterMode

from fedbbpt_benchmarks.experiments.costs.instrumented import SIDES, Side


class Flops:
    """FLOPs of each side as PyTorch counts them: products of matrices and convolutions, 2 for a multiply-add."""

    def __init__(self) -> None:
        self.of = dict.fromkeys(SIDES, 0)

    @contextmanager
    def __call__(self, side: Side) -> Iterator[None]:
        counter = FlopCounterMode(display=False)
        counter.mod_tracker = _NoModules()  # type: ignore[assignment]  # its own hooks do not go with autograd.grad
        with counter:
            yield
        self.of[side] += counter.get_total_flops()


class _NoModules(nullcontext[None]):
    """In place of what tells a `FlopCounterMode` which modules are at work: none."""

    parents = frozenset(("Global",))


class Clock:
    """Seconds of each side."""

    def __init__(self) -> None:
        self.of = dict.fromkeys(SIDES, 0.0)

    @contextmanager
    def __call__(self, side: Side) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.of[side] += time.perf_counter() - start
