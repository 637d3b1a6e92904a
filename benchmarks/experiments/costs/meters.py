"""Meters of what the client and the server do, each for itself: FLOPs, memory, time."""

import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
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


class Memory(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """The most bytes of tensors that were alive at once, of those that each side has made.

    Every storage that an operation makes counts from then on until it is freed, also while the other side works and
    while only a NumPy array holds it. The same computation gives the same number, whatever allocates. Not seen: buffers
    inside an operation, arrays of NumPy's own, and tensors that existed before. (Of PyTorch's own tools, those that
    count on a CPU do so for the whole process.)
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak = dict.fromkeys(SIDES, 0)
        self._live = dict.fromkeys(SIDES, 0)
        self._side: Side = "client"

    @contextmanager
    def __call__(self, side: Side) -> Iterator[None]:
        self._side = side
        with self:
            yield

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Runs an operation; what is in its inputs' storages is a view of them, or a change in place."""
        out = func(*args, **(kwargs or {}))
        given = {id(storage) for storage in _storages((args, kwargs))}
        for storage in _storages(out):
            if id(storage) not in given:
                given.add(id(storage))
                self._count(storage)
        return out

    def _count(self, storage: torch.UntypedStorage) -> None:
        side, size = self._side, storage.nbytes()
        self._live[side] += size
        self.peak[side] = max(self.peak[side], self._live[side])
        weakref.finalize(storage, self._free, side, size).atexit = False

    def _free(self, side: Side, size: int) -> None:
        self._live[side] -= size


def _storages(tree: Any) -> list[torch.UntypedStorage]:
    return [leaf.untyped_storage() for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]
