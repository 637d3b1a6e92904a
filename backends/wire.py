"""What all services want in the same way."""

import base64
import io
import time
from email.utils import parsedate_to_datetime

import numpy as np
from PIL import Image

from fedbbpt.types import Floats

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


def seconds_of(retry_after: str) -> float | None:
    """Seconds from a number of them or an HTTP date; None for anything else."""
    try:
        return max(0.0, float(retry_after))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - time.time())
    except ValueError:
        return None
