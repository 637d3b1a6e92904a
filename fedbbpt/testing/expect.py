"""Reports broken promises of components."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
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


@contextmanager
def refused(error: type[Exception], promise: str, words: str = "") -> Iterator[None]:
    """Raises ContractError unless the block raises this error, with these words in its message.

    >>> with refused(ValueError, "text is not a number", "invalid literal"):
    ...     int("text")
    """
    try:
        yield
    except error as e:
        expect(words in str(e), f"{promise}: expected an error that says {words!r}, got {str(e)!r}")
    else:
        raise ContractError(f"{promise}: expected {error.__name__}, got none")
