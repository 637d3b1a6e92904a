"""Pictures from Python are stored as a person sees them, however their colours are kept."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fedbbpt.api.own_data import write_images
from fedbbpt.data.images import open_image
from fedbbpt.errors import DataError
from fedbbpt.tuned.inputs import as_image


def stored(image, folder: Path):
    """The pixels of the file, as a run reads them at the image's own size."""
    write_images(folder, [image], ["a"], None)
    return open_image(folder / "a" / "000000.png", (4, 6))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "1", "P", "CMYK", "LA", "HSV", "YCbCr"])
def test_every_kind_of_picture_is_stored_in_its_colours(mode: str, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8)
    image = Image.fromarray(pixels).convert(mode)
    expected = np.asarray(image.convert("RGB")).transpose(2, 0, 1)
    assert (stored(image, tmp_path) == expected).all()
    assert (as_image(image, (4, 6), "input 0") == expected).all()


def test_a_picture_of_sixteen_bits_is_read_as_its_file_is(tmp_path: Path) -> None:
    grey = np.linspace(0, 65535, 24).astype(np.uint16).reshape(4, 6)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    with Image.open(tmp_path / "grey.png") as opened:
        assert (as_image(opened, (4, 6), "input 0") == open_image(tmp_path / "grey.png", (4, 6))).all()
        assert (stored(opened, tmp_path / "new") == open_image(tmp_path / "grey.png", (4, 6))).all()


def test_a_turned_photograph_is_stored_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    Image.new("RGB", (4, 6), "red").save(tmp_path / "photo.jpg", exif=exif)
    with Image.open(tmp_path / "photo.jpg") as opened:
        write_images(tmp_path / "new", [opened], ["a"], None)
    with Image.open(tmp_path / "new" / "a" / "000000.png") as found:
        assert found.size == (6, 4)


def test_values_of_unknown_meaning_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="image 0 cannot be used: its values reach from 5 to 5"):
        write_images(tmp_path, [Image.new("F", (4, 6), 5.0)], ["a"], None)
