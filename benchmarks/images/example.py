"""What readers of images yield, and what they share."""

import io
import warnings
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath
from typing import NamedTuple

from PIL import Image

from fedbbpt.assets.archive import members
from fedbbpt.data import hash_split

LARGEST = 4_000_000  # pixels
THUMBNAIL = 256  # px; no model here reads more


class ImageExample(NamedTuple):
    """One image of a data set. Images that must not be on both sides of a split share a key."""

    key: str
    label: str
    image: Image.Image
    official: bool | None = None  # whether the official split has it in the test; None if there is no official split
    domain: str = ""  # the origin, if a data set has several

    @property
    def for_test(self) -> bool:
        """Whether the official split, or else the key's hash, puts it into the test."""
        return hash_split(self.key) == "test" if self.official is None else self.official


def decode(contents: bytes) -> Image.Image:
    """The image in the bytes of a file."""
    image = Image.open(io.BytesIO(contents))
    image.load()
    return image


def images_in_folders(
    asset: str, root: str, describe: Callable[[PurePosixPath], tuple[str, str] | None]
) -> Iterator[ImageExample]:
    """Yields the images below a folder of an archive; `describe` turns a path below it into key and class, or None."""
    for path, contents in members(asset, lambda p: root in p and p.endswith((".png", ".jpg"))):
        below = PurePosixPath(path.partition(root)[2])
        if len(below.parts) > 1 and (described := describe(below)) and (image := _thumbnail(contents)):
            yield ImageExample(*described, image)


def _thumbnail(contents: bytes) -> Image.Image | None:
    """The image, reduced; None for the few drawings that are too large to decode in reasonable time."""
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
