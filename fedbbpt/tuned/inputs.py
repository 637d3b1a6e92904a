"""What users have in Python, as a model reads it: pictures, arrays, paths, texts."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fedbbpt.data.images import ImageArray, open_image, to_array
from fedbbpt.data.texts import as_texts, open_text, tidied
from fedbbpt.errors import DataError
from fedbbpt.printing import short_repr
from fedbbpt.types import Size

CHANNELS = (1, 3, 4)  # grey, RGB, RGBA
EXPECTED_IMAGE = "a PIL image, an array (h, w, 3) or a path"
EXPECTED_TEXT = "a string, or the Path of a text file"


class Given(NamedTuple):
    """Inputs as users gave them, one by one."""

    items: Sequence[Any]
    is_single: bool  # one alone, not in a list


def given(inputs: Any, size: Size) -> Given:
    """Tells one input from many: an array (h, w) or (h, w, channels), a picture, a path and a string are one.

    Raises:
        DataError: neither one input nor several.
    """
    if isinstance(inputs, str | Path | Image.Image):
        return Given([inputs], is_single=True)
    if hasattr(inputs, "__array__") and size is not None:
        array = np.asarray(inputs)
        if array.dtype != object:
            if array.ndim == 2 or (array.ndim == 3 and array.shape[-1] in CHANNELS):
                return Given([array], is_single=True)
            return Given(list(array), is_single=False)
    if not isinstance(inputs, Iterable):
        raise DataError(
            f"expected {EXPECTED_IMAGE if size else EXPECTED_TEXT}, or several of these, got {short_repr(inputs)}"
        )
    return Given(list(inputs), is_single=False)


def as_image(one: Any, size: Size, place: str) -> ImageArray:
    """A picture, an array or the path of a file, as RGB uint8 (3, h, w).

    Arrays are (h, w), (h, w, 1), (h, w, 3) or (h, w, 4), of uint8 or of floats in [0, 1].

    Raises:
        DataError: it is none of these; `place` says which input it is.
    """
    return open_image(Path(one), size) if isinstance(one, str | Path) else to_array(as_picture(one, place), size)


def as_picture(one: Any, place: str) -> Image.Image:
    """A PIL image, or an array as `as_image` takes it, as a PIL image of its own size.

    Raises:
        DataError: it is neither; `place` says which input it is.
    """
    if isinstance(one, Image.Image):
        return one
    if not hasattr(one, "__array__"):
        raise DataError(f"{place} must be {EXPECTED_IMAGE}, got {short_repr(one)}")
    return Image.fromarray(_eight_bits(np.asarray(one), place))


def as_text(one: Any, place: str) -> str:
    """A string, or the contents of the file at a path.

    Raises:
        DataError: it is neither, or blank; `place` says which input it is.
    """
    if isinstance(one, Path):
        return open_text(one)
    if not isinstance(one, str):
        raise DataError(f"{place} must be {EXPECTED_TEXT}, got {short_repr(one)}")
    if not (text := tidied(one)).strip():
        raise DataError(f"{place} holds no text")
    return text


def as_inputs(items: Sequence[Any], size: Size, first: int = 0) -> NDArray[Any]:
    """Inputs as a data set keeps them: images uint8 (n, 3, h, w), or texts (n,), dtype object.

    Raises:
        DataError: one of them is not what the model reads; it is named by its number, counted from `first`.
    """
    if size is None:
        return as_texts([as_text(one, f"input {number}") for number, one in enumerate(items, first)])
    images = [as_image(one, size, f"input {number}") for number, one in enumerate(items, first)]
    return np.stack(images) if images else np.empty((0, 3, *size), np.uint8)


def _eight_bits(array: NDArray[Any], place: str) -> NDArray[np.uint8]:
    if array.ndim == 3 and array.shape[-1] == 1:
        array = array[..., 0]
    if not (array.ndim == 2 or (array.ndim == 3 and array.shape[-1] in CHANNELS)) or not array.size:
        raise DataError(f"{place} must be an array (h, w), (h, w, 3) or (h, w, 4), got the shape {array.shape}")
    if array.dtype == np.uint8:
        return array
    if array.dtype == bool:
        return array.astype(np.uint8) * np.uint8(255)
    if not np.issubdtype(array.dtype, np.floating) or not (array.min() >= 0 and array.max() <= 1):  # nor NaN
        raise DataError(
            f"{place} must hold uint8, or floats from 0 (black) to 1 (white), got {array.dtype} from {array.min():g} "
            f"to {array.max():g}"
        )
    eight_bits: NDArray[np.uint8] = np.rint(array * 255).astype(np.uint8)
    return eight_bits
