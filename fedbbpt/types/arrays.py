"""Names for arrays by what they hold."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Float32 = NDArray[np.float32]
Int64 = NDArray[np.int64]
Inputs = NDArray[Any]  # images (b, 3, h, w), float32 in [0, 1]; or texts (b,), an object array of str
Size = tuple[int, int] | None  # (h, w) in pixels of a model's input images; None for texts
Parameters = Mapping[str, Float32]  # part ("prompt", "readout") -> flat vector


def as_queried(inputs: NDArray[Any]) -> Inputs:
    """Images of 8 bits as float32 in [0, 1], as backends read them; everything else as it is."""
    return inputs.astype(np.float32) / np.float32(255) if inputs.dtype == np.uint8 else inputs
