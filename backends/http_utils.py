"""What all services want in the same way."""

import base64
import io
import re

import numpy as np
from PIL import Image

from fedbbpt.errors import BackendError
from fedbbpt.services import RequestRejected
from fedbbpt.types import Floats
from fedbbpt.web.policy import refuses, seconds_of

__all__ = ["AROUND", "PNG", "base64_png", "refusal", "seconds_of", "shared"]

# How services say that it is an input which they do not take: for what it says, or for its length.
ABOUT_INPUT = re.compile(
    r"content.?(filter|policy|management|moderation)|responsible.?ai|moderation|flagged|safety|data.?inspection"
    r"|invalid.?prompt|context.?(length|size|window)|too.?long|above.?max.?length|too many (input )?tokens",
    re.IGNORECASE,
)
TOO_LARGE = 413
AROUND = 16  # tokens that a service puts around what is asked
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


def refusal(status: int, sentence: str, reasons: str) -> BackendError:
    """What is raised of a request that a service refused with an HTTP status, for reasons in its own words."""
    if not refuses(status):
        return BackendError(sentence)
    return RequestRejected(sentence, status == TOO_LARGE or ABOUT_INPUT.search(reasons) is not None)
