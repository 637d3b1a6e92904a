"""A meter of the memory that the client's tensors and the server's take."""

import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from fedbbpt_benchmarks.experiments.costs.instrumented import SIDES, Side


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
