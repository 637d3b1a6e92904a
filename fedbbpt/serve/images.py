"""Images that clients send: untrusted bytes."""

import base64
import binascii
import re
import warnings
from collections.abc import Sequence
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from fedbbpt.data.images import ImageArray, to_array
from fedbbpt.serve import MIB, HttpError
from fedbbpt.types import Size

FORMATS = ("PNG", "JPEG")
DATA_URI = re.compile(r"data:image/[\w.+-]+;base64,", re.IGNORECASE)  # the bytes decide the format: many send image/jpg
MAX_PIXELS_HELD = 56 * MIB  # by all requests, each of at most 12 bytes: a photo of 50 megapixels fits
KERNEL_PIXELS = 4  # memory of the resizing weights per row and per column, in pixels


class EncodedImages:
    """PNG or JPEG files in base64, bare or as data: URIs; their headers are read, but no image is decoded yet.

    `pixels` is the memory, in pixels, for all images at the model's size, and for decoding and resizing the largest.

    Raises:
        HttpError: an image cannot be read or is too large, or all have more than `max_pixels` together.
    """

    def __init__(self, encoded: Sequence[str], size: Size, max_pixels: int) -> None:
        assert size is not None  # a model of texts gets none
        self._encoded, self._size = encoded, size
        height, width = size
        sizes = [self._size_of(number) for number in range(len(encoded))]
        if (sent := sum(w * h for w, h in sizes)) > max_pixels:
            raise HttpError(413, f"the images have {sent:,} pixels together, and the limit is {max_pixels:,}")
        largest = max(w * h + h * width + KERNEL_PIXELS * (w + h) for w, h in sizes)
        if largest > MAX_PIXELS_HELD:
            raise HttpError(
                413, f"an image has too many pixels (limit: {MAX_PIXELS_HELD:,}), or is too long; send a smaller one"
            )
        self.pixels = len(encoded) * height * width + largest
        if self.pixels > MAX_PIXELS_HELD:
            raise HttpError(413, f"too many images for one request at {height} × {width} px; send fewer")

    def decode(self) -> NDArray[np.uint8]:
        """The images (b, 3, h, w), decoded one after the other.

        Raises:
            HttpError: an image is damaged.
        """
        return np.stack([self._decoded(number) for number in range(len(self._encoded))])

    def _size_of(self, number: int) -> tuple[int, int]:
        with self._opened(number) as image:
            return image.size

    def _decoded(self, number: int) -> ImageArray:
        with self._opened(number) as image:
            try:
                return to_array(image, self._size)
            except Exception as e:  # a decoder may raise anything on hostile bytes
                raise _unreadable(number) from e

    def _opened(self, number: int) -> Image.Image:
        try:
            data = base64.b64decode(DATA_URI.sub("", self._encoded[number], count=1), validate=True)
        except (binascii.Error, ValueError) as e:
            advice = "send a PNG or JPEG file in base64, or as a data: URI of it"
            raise HttpError(400, f"image {number} is not base64; {advice}") from e
        try:
            return Image.open(BytesIO(data), formats=FORMATS)
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as e:
            raise HttpError(413, f"image {number} has too many pixels; send a smaller one") from e
        except Exception as e:  # as above
            raise _unreadable(number) from e


def _unreadable(number: int) -> HttpError:
    return HttpError(400, f"image {number} cannot be read as PNG or JPEG; it is damaged, or in another format")


def refuse_decompression_bombs() -> None:
    """Makes Pillow raise, in this process, for images whose pixels or comments are so many that it would warn."""
    warnings.simplefilter("error", Image.DecompressionBombWarning)
    PngImagePlugin.MAX_TEXT_MEMORY = PngImagePlugin.MAX_TEXT_CHUNK
