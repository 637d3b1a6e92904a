"""What the clients of HTTP APIs share: images as PNG, and shares of token counts."""

import base64
import io

import numpy as np
from PIL import Image

from fedbbpt.types import Floats

CHAT_OVERHEAD = 16  # tokens that a chat template adds to an input
PNG = "data:image/png;base64,"  # the start of a data URI


def base64_png(image: Floats) -> str:
    """Encodes an image (3, h, w) in [0, 1] as 8-bit PNG, rounded half to even, in base64."""
    pixels = np.rint(255 * image.clip(0, 1)).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels.transpose(1, 2, 0)).save(file, "png")
    return base64.b64encode(file.getvalue()).decode()


def split_evenly(count: int, parts: int) -> list[int]:
    """Divides an integer into parts that differ by at most one; they add up to `count`.

    >>> split_evenly(7, 3)
    [3, 2, 2]
    """
    return [count // parts + (i < count % parts) for i in range(parts)]
