"""What all services want in the same way."""

import base64
import io

import numpy as np
from PIL import Image

from fedbbpt.types import Floats
from fedbbpt.web.policy import seconds_of

__all__ = ["PNG", "base64_png", "seconds_of", "shared"]

PNG = "data:image/png;base64,"  # before base64 makes a data URI


def base64_png(image: Floats) -> str:
    """An image (3, h, w) in [0, 1] as 8-bit PNG, rounded half to even."""
    pixels = np.rint(255 * image.clip(0, 1)).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels.transpose(1, 2, 0)).save(file, "png")
    return base64.b64encode(file.getvalue()).decode()


def shared(count: int, parts: int) -> list[int]:
    """A whole number in equal parts, as far as that goes."""
    return [count // parts + (i < count % parts) for i in range(parts)]
