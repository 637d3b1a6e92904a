"""Images that came over the network: bytes of a stranger's choice."""

import base64
import binascii
import re
import warnings
from collections.abc import Sequence
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from fedbbpt.data.images import Picture, to_array
from fedbbpt.serve import MIB, Refusal
from fedbbpt.types import Size

FORMATS = ("PNG", "JPEG")
DATA_URI = re.compile(r"data:image/[\w.+-]+;base64,", re.IGNORECASE)  # the bytes say the type: many write image/jpg
MOST_AT_ONCE = 56 * MIB  # pixels in memory for all requests, each of at most 12 bytes: a photo of 50 megapixels fits
KERNELS = 4  # pixels' worth of weights that resizing takes for each row and each column


class Pictures:
    """PNG or JPEG files in base64, bare or as data: URIs, known by their headers; none is decoded yet.

    `pixels` is what it takes to have all of them at the model's size, and to decode and resize the largest, in pixels.

    Raises:
        Refusal: one is no such image or too large, or they have more than `most_pixels` together.
    """

    def __init__(self, encoded: Sequence[str], size: Size, most_pixels: int) -> None:
        assert size is not None  # a model of texts is asked about none
        self._encoded, self._size = encoded, size
        height, width = size
        sizes = [self._size_of(number) for number in range(len(encoded))]
        if (pixels := sum(w * h for w, h in sizes)) > most_pixels:
            raise Refusal(413, f"the images have {pixels:,} pixels together, and the limit is {most_pixels:,}")
        largest = max(w * h + h * width + KERNELS * (w + h) for w, h in sizes)
        if largest > MOST_AT_ONCE:
            raise Refusal(413, f"an image has too many pixels (limit: {MOST_AT_ONCE:,}), or is too long; shrink it")
        self.pixels = len(encoded) * height * width + largest
        if self.pixels > MOST_AT_ONCE:
            raise Refusal(413, f"these are too many images for one request at {height} × {width} px; send fewer")

    def read(self) -> NDArray[np.uint8]:
        """The images (b, 3, h, w), decoded one after the other.

        Raises:
            Refusal: one is damaged.
        """
        return np.stack([self._decoded(number) for number in range(len(self._encoded))])

    def _size_of(self, number: int) -> tuple[int, int]:
        with self._opened(number) as image:
            return image.size

    def _decoded(self, number: int) -> Picture:
        with self._opened(number) as image:
            try:
                return to_array(image, self._size)
            except Exception as e:  # a decoder on hostile bytes raises anything
                raise _unreadable(number) from e

    def _opened(self, number: int) -> Image.Image:
        try:
            data = base64.b64decode(DATA_URI.sub("", self._encoded[number], count=1), validate=True)
        except (binascii.Error, ValueError) as e:
            advice = "send a PNG or JPEG file in base64, or as a data: URI of it"
            raise Refusal(400, f"image {number} is not base64; {advice}") from e
        try:
            return Image.open(BytesIO(data), formats=FORMATS)
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as e:
            raise Refusal(413, f"image {number} has too many pixels; send a smaller one") from e
        except Exception as e:  # as above
            raise _unreadable(number) from e


def _unreadable(number: int) -> Refusal:
    return Refusal(400, f"image {number} cannot be read as PNG or JPEG; it is damaged, or of another format")


def bombs_are_errors() -> None:
    """From here on, Pillow refuses an image with so many pixels, or such long comments, that it would warn of it."""
    warnings.simplefilter("error", Image.DecompressionBombWarning)
    PngImagePlugin.MAX_TEXT_MEMORY = PngImagePlugin.MAX_TEXT_CHUNK
