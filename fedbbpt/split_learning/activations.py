"""Activations and gradients (b, n, D) as bytes: safetensors in one of three formats."""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fedbbpt.types import Float32
from fedbbpt.types.wire import packed, unpacked

ActivationDtype = Literal["float32", "bfloat16", "int8"]
ARRAYS: Mapping[ActivationDtype, Mapping[str, str]] = {  # of a message, with their types in NumPy
    "float32": {"values": "float32"},
    "bfloat16": {"values": "uint16"},
    "int8": {"values": "int8", "scales": "float32"},
}
MAX_HEADER = 4096  # bytes; those of `pack` have some 200


@np.errstate(over="ignore", invalid="ignore")  # what diverged travels, too
def pack(values: Float32, dtype: ActivationDtype = "float32") -> bytes:
    """Values (b, n, D) as they are, rounded to bfloat16, or as int8 with a scale per token.

    int8 divides each token by its largest magnitude over 127 and rounds to the nearest (ours, not SFPrompt's).

    >>> values = np.array([[[0.5, -1.27]]], np.float32)
    >>> unpack(pack(values)).tolist() == values.tolist()
    True
    >>> unpack(pack(values, "int8")).round(2).tolist() == values.round(2).tolist()
    True
    """
    if dtype == "float32":
        return packed({"values": values})
    if dtype == "bfloat16":
        return packed({"values": _to_bfloat16(values)})
    scales = np.abs(values).max(-1, keepdims=True) / np.float32(127)  # (b, n, 1)
    steps = np.rint(values / np.where(scales > 0, scales, np.float32(1)))
    return packed({"values": np.nan_to_num(steps).astype(np.int8), "scales": scales})


def unpack(message: bytes) -> Float32:
    """Inverse of `pack`, except for the rounding."""
    return _values(unpacked(message)[0])


def unpack_untrusted(message: bytes) -> tuple[Float32, ActivationDtype]:
    """As `unpack`, for a message that may hold anything; also the format in which it was packed.

    Memory is allocated only for what is there: the header is short, and safetensors compares its sizes with the rest.

    Raises:
        ValueError: `pack` writes no such message.
    """
    if int.from_bytes(message[:8], "little") > MAX_HEADER:
        raise ValueError("it is not in safetensors, or has too long a header")
    arrays, _ = unpacked(message)
    found = {name: array.dtype.name for name, array in arrays.items()}
    dtypes = [dtype for dtype, expected in ARRAYS.items() if found == expected]
    if not dtypes:
        raise ValueError("its arrays are not named and typed as those of float32, bfloat16 or int8")
    shape = arrays["values"].shape
    if len(shape) != 3 or 0 in shape or ("scales" in arrays and arrays["scales"].shape != (*shape[:2], 1)):
        raise ValueError("its arrays do not have the shape (samples, tokens, width)")
    return _values(arrays), dtypes[0]


@np.errstate(over="ignore", invalid="ignore")
def _values(arrays: Mapping[str, NDArray[Any]]) -> Float32:
    values: NDArray[Any] = arrays["values"]
    if values.dtype == np.uint16:
        return (values.astype(np.uint32) << 16).view(np.float32)
    if values.dtype == np.int8:
        scaled: Float32 = values.astype(np.float32) * arrays["scales"]
        return scaled
    return values


def _to_bfloat16(values: Float32) -> NDArray[np.uint16]:
    """The upper half of each number's bits, rounded to the nearest, half to even; NumPy has no bfloat16."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    rounded = bits + 0x7FFF + ((bits >> 16) & 1)
    return (np.where(np.isnan(values), bits, rounded) >> 16).astype(np.uint16)
