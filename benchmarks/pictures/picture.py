"""What readers yield, and what they share."""

import io
import warnings
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath
from typing import NamedTuple

from PIL import Image

from fedbbpt.assets.archive import members
from fedbbpt.data import hash_split

LARGEST = 4_000_000  # pixels
THUMBNAIL = 256  # px; no model here looks at more


class Picture(NamedTuple):
    """A picture of a data set. Pictures that must not be on both sides of a split share their key."""

    key: str
    label: str
    image: Image.Image
    official: bool | None = None  # the official split's word on whether it is for tests; None where there is none
    domain: str = ""  # where it comes from, where a data set has several origins

    @property
    def for_test(self) -> bool:
        return hash_split(self.key) == "test" if self.official is None else self.official


def decoded(contents: bytes) -> Image.Image:
    """A picture from the bytes of its file."""
    image = Image.open(io.BytesIO(contents))
    image.load()
    return image


def folders(asset: str, root: str, describe: Callable[[PurePosixPath], tuple[str, str] | None]) -> Iterator[Picture]:
    """Pictures below a folder of an archive; `describe` gives key and class from the path below it."""
    for path, contents in members(asset, lambda p: root in p and p.endswith((".png", ".jpg"))):
        below = PurePosixPath(path.partition(root)[2])
        if len(below.parts) > 1 and (described := describe(below)) and (image := _thumbnail(contents)):
            yield Picture(*described, image)


def _thumbnail(contents: bytes) -> Image.Image | None:
    """None of the handful of drawings that are too large to be read in reasonable time."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        try:
            image = Image.open(io.BytesIO(contents))
        except Image.DecompressionBombError:
            return None
    if image.width * image.height > LARGEST:
        return None
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    return image
