"""Reads images into arrays, through Pillow."""

import functools
import tempfile
import warnings
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from fedbbpt.errors import DataError
from fedbbpt.types import ArrayView, Size

ImageArray = NDArray[np.uint8]  # (3, h, w)
SIXTEEN_BITS = ("PNG", "PPM")  # formats whose 16-bit values Pillow reads as 32-bit integers
HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"}
STRIP = 2**20  # pixels converted at a time, so that a large image is not copied several times as a whole
PROGRAMS = {"EPS", "WMF"}  # formats that Pillow renders with external programs
NAMED = 3  # unreadable files named in an error


def to_array(image: Image.Image, size: Size) -> ImageArray:
    """The image as a person sees it: RGB uint8 (3, h, w), resized to `size` (h, w) by bicubic interpolation.

    It is rotated as its EXIF says, transparency becomes white, grey values of 16 bits or in [0, 1] become 8 bits, and
    of several frames or pages the first is read.

    Raises:
        DataError: which of its values is white is unknown.
    """
    assert size is not None  # image tasks are never loaded as texts
    image = as_rgb(image)
    if image.size != size[::-1]:
        image = image.resize(size[::-1], Image.Resampling.BICUBIC)
    return np.asarray(image, np.uint8).transpose(2, 0, 1)


def as_rgb(image: Image.Image) -> Image.Image:
    """The image as `to_array` sees it, in RGB, before it is resized; raises as it does."""
    image = _eight_bits(_upright(image), image.format)
    if image.mode in ("RGBA", "RGBa", "LA", "PA") or "transparency" in image.info:
        image = _on_white(image)
    return image if image.mode == "RGB" else image.convert("RGB")


def fingerprint(image: Image.Image) -> bytes:
    """A hash of the image at 64 × 64 px: equal for images that look the same there, whatever their size."""
    return sha256(to_array(image, (64, 64)).tobytes()).digest()


def open_image(file: Path, size: Size) -> ImageArray:
    """Reads an image file, see `to_array`.

    Raises:
        DataError: the file is missing or not a readable image.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about damaged metadata; damaged pixels raise an error
            with Image.open(file, formats=_formats()) as image:
                return to_array(image, size)
    except FileNotFoundError as e:
        raise DataError(f"no file {file}") from e
    except IsADirectoryError as e:
        raise DataError(f"{file} is a folder; name the images in it") from e
    except DataError as e:
        raise DataError(f"{file} cannot be read as an image: {e}") from e
    except Exception as e:  # a decoder may raise anything on damaged bytes
        if not _reads_heif() and _is_heif(file):
            raise DataError(f"{file} is a HEIC image; to read those: pip install 'fedbbpt[heic]'") from e
        raise DataError(f"{file} cannot be read as an image ({_reason(e, file)}); repair or remove it") from e


def open_images(files: Sequence[Path], size: Size) -> ArrayView:
    """Decodes one or more images into an unnamed file on disk, which vanishes with the last reference to the result.

    Raises:
        DataError: some files are not readable images (it names a few), or the disk is full.
    """
    unread: list[tuple[Path, DataError]] = []
    try:
        with tempfile.TemporaryFile() as pixels:
            for file in files:
                try:
                    image = open_image(file, size)
                except DataError as e:
                    unread.append((file, e))
                else:
                    pixels.write(image.tobytes())
            if unread:
                raise _unread(unread)
            pixels.flush()
            mapped = np.memmap(pixels, np.uint8, "r", shape=(len(files), *image.shape))
    except OSError as e:
        reason = (e.strerror or str(e)).lower()
        raise DataError(f"cannot store the decoded images ({reason}); TMPDIR may name another folder") from e
    return ArrayView(mapped, np.arange(len(files)))


def _upright(image: Image.Image) -> Image.Image:
    image.load()
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # damaged metadata do not make an image unreadable
        return image


def _on_white(image: Image.Image) -> Image.Image:
    flat, rows = Image.new("RGB", image.size), max(1, STRIP // image.width)
    for top in range(0, image.height, rows):
        strip = image.crop((0, top, image.width, min(top + rows, image.height))).convert("RGBA")
        white = Image.new("RGBA", strip.size, "white")
        flat.paste(Image.alpha_composite(white, strip).convert("RGB"), (0, top))
    return flat


def _eight_bits(image: Image.Image, kind: str | None) -> Image.Image:
    if not image.mode.startswith(("I", "F")):
        return image
    values = np.asarray(image)
    low, high = values.min(), values.max()
    if image.mode.startswith("I;16") or (image.mode == "I" and kind in SIXTEEN_BITS):
        grey = np.divide(
            values, 257, dtype=np.float32
        )  # float32 is exact enough: no value is halfway between two greys
    elif image.mode == "F" and low >= 0 and high <= 1:
        grey = values * 255
    elif np.isnan(low):
        raise DataError("some of its values are not numbers; give them a grey")
    else:
        raise DataError(
            f"its values reach from {low:g} to {high:g}, and nothing says which of them is white; save it with 8 or 16 "
            "bits, or as fractions from 0 to 1"
        )
    if "transparency" in image.info:
        grey[values == image.info["transparency"]] = 255
    return Image.fromarray(np.rint(grey, out=grey).astype(np.uint8))


@functools.cache
def _formats() -> list[str]:
    """All formats that Pillow decodes without external programs."""
    _reads_heif()
    Image.init()
    return [name for name in Image.ID if name not in PROGRAMS]


@functools.cache
def _reads_heif() -> bool:
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        return False
    register_heif_opener()
    return True


def _is_heif(file: Path) -> bool:
    try:
        with file.open("rb") as opened:
            head = opened.read(12)
    except OSError:
        return False
    return head[4:8] == b"ftyp" and head[8:] in HEIF_BRANDS


def _reason(error: Exception, file: Path) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    if isinstance(error, Image.DecompressionBombError | MemoryError):
        return "it has too many pixels"
    if not file.stat().st_size:
        return "it is empty"
    return "not an image, or damaged" if isinstance(error, UnidentifiedImageError) else "truncated or damaged"


def _unread(found: Sequence[tuple[Path, DataError]]) -> DataError:
    (_, first), *more = found
    if not more:
        return first
    names = ", ".join(str(file) for file, _ in more[:NAMED]) + (", …" if len(more) > NAMED else "")
    return DataError(f"{first} ({len(more):,} more cannot be read: {names})")
