"""Pictures to arrays, through Pillow."""

import tempfile
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fedbbpt.errors import DataError
from fedbbpt.types import Rows, Size

Picture = NDArray[np.uint8]  # (3, h, w)


def to_array(image: Image.Image, size: Size) -> Picture:
    """An RGB picture (3, h, w) of the given size (bicubic); transparency becomes white, 16 bits of grey become 8."""
    assert size is not None  # a task of images is never asked for texts
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) / 257).round().astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    if image.mode != "RGB":
        image = image.convert("RGB")
    if image.size != size[::-1]:
        image = image.resize(size[::-1], Image.Resampling.BICUBIC)
    return np.asarray(image, np.uint8).transpose(2, 0, 1)


def fingerprint(image: Image.Image) -> bytes:
    """Equal for pictures that look the same at 64 × 64 px: copies of another size too."""
    return sha256(to_array(image, (64, 64)).tobytes()).digest()


def open_picture(file: Path, size: Size) -> Picture:
    """A picture from a file, as `to_array` gives it.

    Raises:
        DataError: the file is missing, or no readable picture.
    """
    try:
        with Image.open(file) as image:
            return to_array(image, size)
    except FileNotFoundError as e:
        raise DataError(f"no file {file}") from e
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as e:
        reason = "truncated or damaged" if isinstance(e, OSError) and "identify" not in str(e) else "not a picture"
        raise DataError(f"{file} cannot be read as a picture ({reason}); repair or remove it") from e


def open_pictures(files: Sequence[Path], size: Size) -> Rows:
    """At least one picture, decoded once to an unnamed file on disk, which goes when nothing refers to it any more.

    Raises:
        DataError: a file is no readable picture, or there is no space to keep what is in it.
    """
    try:
        with tempfile.TemporaryFile() as pixels:
            for file in files:
                picture = open_picture(file, size)
                pixels.write(picture.tobytes())
            pixels.flush()
            mapped = np.memmap(pixels, np.uint8, "r", shape=(len(files), *picture.shape))
    except OSError as e:
        reason = (e.strerror or str(e)).lower()
        raise DataError(f"cannot keep the decoded pictures ({reason}); TMPDIR may name another folder") from e
    return Rows(mapped, np.arange(len(files)))
