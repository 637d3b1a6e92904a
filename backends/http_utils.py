"""What the clients of HTTP APIs share: images as PNG, token counts, and errors for rejected requests."""

import base64
import io
import re

import numpy as np
from PIL import Image

from fedbbpt.errors import BackendError
from fedbbpt.services import RequestRejected
from fedbbpt.types import Floats
from fedbbpt.web.policy import refuses

# How services say that they reject an input, for its content or its length.
ABOUT_INPUT = re.compile(
    r"content.?(filter|policy|management|moderation)|responsible.?ai|moderation|flagged|safety|data.?inspection"
    r"|invalid.?prompt|context.?(length|size|window)|too.?long|above.?max.?length|too many (input )?tokens",
    re.IGNORECASE,
)
TOO_LARGE = 413
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


def refusal(status: int, sentence: str, reasons: str) -> BackendError:
    """The error for a request that a service answered with an HTTP status, for `reasons` in its own words."""
    if not refuses(status):
        return BackendError(sentence)
    return RequestRejected(sentence, status == TOO_LARGE or ABOUT_INPUT.search(reasons) is not None)
