"""How a broken promise is reported."""

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray


class ContractError(AssertionError):
    """A component breaks a promise of its protocol."""


def expect(condition: bool, promise: str) -> None:
    """Raises ContractError with the promise, unless it is kept."""
    if not condition:
        raise ContractError(promise)


def same_bits(a: Mapping[str, NDArray[Any]], b: Mapping[str, NDArray[Any]]) -> bool:
    """Whether two sets of arrays have the same names, types, shapes and bits."""
    return a.keys() == b.keys() and all(
        (a[name].dtype, a[name].shape, a[name].tobytes()) == (b[name].dtype, b[name].shape, b[name].tobytes())
        for name in a
    )
