"""Writes messages as bytes, and reads bytes that may come from anybody."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from safetensors import SafetensorError

from fedbbpt.json_text import parse

LONGEST_HEADER = 2**24  # bytes: enough for 100,000 arrays
LONGEST_NAME = 255  # characters of a client's name
MOST = 2**64  # above all counts and seeds
PREFIX = 8  # bytes of a header's length


def packed(arrays: Mapping[str, NDArray[Any]], **scalars: Any) -> bytes:
    """Packs arrays as safetensors, with the scalars as JSON in the metadata."""
    tensors = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    return safetensors.numpy.save(tensors, metadata={"scalars": json.dumps(scalars, separators=(",", ":"))})


def unpacked(data: bytes) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Inverse of `packed` for any bytes; allocates no more memory than they have.

    Raises:
        ValueError: the bytes do not come from `packed`.
    """
    # safetensors reads metadata from files only; in memory its header is 8 bytes of length and that much JSON.
    end = PREFIX + int.from_bytes(data[:PREFIX], "little")
    if not PREFIX < end <= min(len(data), LONGEST_HEADER):
        raise ValueError(f"{len(data):,} bytes are no message in safetensors: they do not begin with a header")
    try:
        scalars = parse(parse(data[PREFIX:end])["__metadata__"]["scalars"])
        arrays = safetensors.numpy.load(data)
    except (SafetensorError, LookupError, TypeError, AttributeError, ValueError) as e:
        raise ValueError(f"{len(data):,} bytes are no message in safetensors as it is written here") from e
    return arrays, mapped(scalars, "what a message says")


def whole(value: Any, name: str) -> int:
    """Checks a count.

    Raises:
        ValueError: the value is no whole number in range.
    """
    if type(value) is not int or not 0 <= value < MOST:
        raise ValueError(f"{name} is not a whole number from 0 to {MOST - 1}")
    return value


def real(value: Any, name: str) -> float:
    """Checks a number, which may be NaN or infinite.

    Raises:
        ValueError: the value is no number.
    """
    if type(value) is float or (type(value) is int and abs(value) < MOST):
        return float(value)
    raise ValueError(f"{name} is no number")


def named(value: Any) -> str:
    """Checks a client's name.

    Raises:
        ValueError: the value is no valid name.
    """
    if not (isinstance(value, str) and 0 < len(value) <= LONGEST_NAME and value.isprintable()):
        raise ValueError(f"a client's name is not a line of 1 to {LONGEST_NAME} characters")
    return value


def listed(value: Any, name: str, *counts: int) -> list[Any]:
    """Checks a list, whose length must be one of the counts.

    Raises:
        ValueError: the value is no such list.
    """
    if not isinstance(value, list) or len(value) not in counts:
        raise ValueError(f"{name} is not a list of {' or '.join(map(str, counts))} values")
    return value


def mapped(value: Any, name: str) -> dict[str, Any]:
    """Checks a mapping.

    Raises:
        ValueError: the value is no mapping.
    """
    if type(value) is not dict:
        raise ValueError(f"{name} is not called by names")
    return value


def keyed(found: Mapping[str, Any], *names: str) -> None:
    """Checks that the names are exactly these.

    Raises:
        ValueError: a name is missing or unexpected.
    """
    if found.keys() != set(names):
        raise ValueError(f"expected {', '.join(names) or 'nothing'} in a message, and something else is there")


def typed(array: NDArray[Any], name: str, dimensions: int, *dtypes: Any) -> NDArray[Any]:
    """Checks an array's number of dimensions and dtype.

    Raises:
        ValueError: one of them is another.
    """
    if array.ndim != dimensions or array.dtype not in dtypes:
        kinds = " or ".join(np.dtype(dtype).name for dtype in dtypes)
        raise ValueError(f"{name} is of {array.dtype} and {array.ndim} dimensions; expected {kinds} and {dimensions}")
    return array
