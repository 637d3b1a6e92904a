"""Images that came over the network: bytes of a stranger's choice."""

import base64
import binascii
import re
import warnings
from collections.abc import Sequence
from io import BytesIO

import numpy as np
from PIL import Image

from fedbbpt.data.images import Picture, to_array
from fedbbpt.serve import Refusal
from fedbbpt.types import Float32, Size

FORMATS = ("PNG", "JPEG")
DATA_URI = re.compile(r"data:image/(png|jpeg);base64,", re.IGNORECASE)


def read_pictures(encoded: Sequence[str], size: Size, most_pixels: int) -> Float32:
    """Images (b, 3, h, w) in [0, 1] from PNG or JPEG in base64, bare or as data: URIs.

    The number of pixels is taken from the files' headers, before any is decoded.

    Raises:
        Refusal: one is no such image, or they have more than `most_pixels` together.
    """
    opened = [_opened(one, f"image {number}") for number, one in enumerate(encoded)]
    if (pixels := sum(image.width * image.height for image in opened)) > most_pixels:
        raise Refusal(413, f"the images have {pixels:,} pixels together, and the limit is {most_pixels:,}")
    arrays = [_decoded(image, size, f"image {number}") for number, image in enumerate(opened)]
    return np.stack(arrays).astype(np.float32) / np.float32(255)


def _opened(encoded: str, name: str) -> Image.Image:
    try:
        data = base64.b64decode(DATA_URI.sub("", encoded, count=1), validate=True)
    except (binascii.Error, ValueError) as e:
        raise Refusal(400, f"{name} is not base64; send a PNG or JPEG file in base64, or as a data: URI of it") from e
    try:
        return Image.open(BytesIO(data), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as e:
        raise Refusal(413, f"{name} has too many pixels; send a smaller one") from e
    except Exception as e:  # a decoder on hostile bytes raises anything
        raise _unreadable(name) from e


def _decoded(image: Image.Image, size: Size, name: str) -> Picture:
    try:
        with image:
            return to_array(image, size)
    except Exception as e:  # as above
        raise _unreadable(name) from e


def _unreadable(name: str) -> Refusal:
    return Refusal(400, f"{name} cannot be read as PNG or JPEG; it is damaged, or of another format")


def bombs_are_errors() -> None:
    """From here on, an image with so many pixels that Pillow would warn of it is refused by it."""
    warnings.simplefilter("error", Image.DecompressionBombWarning)
