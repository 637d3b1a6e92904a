"""Images of every mode become RGB of 8 bits: grey, palettes, inks, transparency, and values of 16 bits or floats."""

import io

import numpy as np
import pytest
from PIL import Image

from fedbbpt.data.images import fingerprint, open_image, to_array
from fedbbpt.errors import DataError

SIZE = (6, 8)
RAMP = np.linspace(0, 255, 48).astype(np.uint8).reshape(SIZE)


def reread(image):
    """The image as a file has it."""
    file = io.BytesIO()
    image.save(file, "png")
    return Image.open(file)


def test_colours_become_three_planes():
    pixels = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)
    array = to_array(reread(Image.fromarray(pixels)), SIZE)
    assert array.dtype == np.uint8
    assert np.array_equal(array, pixels.transpose(2, 0, 1))


def test_grey_is_the_same_in_all_channels():
    assert (to_array(reread(Image.fromarray(RAMP)), SIZE) == RAMP).all()


def test_palette_is_looked_up():
    image = Image.fromarray(RAMP).convert("RGB").quantize(48)
    assert np.array_equal(to_array(reread(image), SIZE), np.asarray(image.convert("RGB")).transpose(2, 0, 1))


def test_black_and_white():
    assert np.array_equal(to_array(reread(Image.fromarray(RAMP > 100)), SIZE)[0], np.where(RAMP > 100, 255, 0))


def test_inks_become_light(tmp_path):
    Image.new("CMYK", (8, 6), (255, 0, 0, 0)).save(tmp_path / "a.tif")
    assert open_image(tmp_path / "a.tif", SIZE)[:, 0, 0].tolist() == [0, 255, 255]


def test_images_that_look_the_same_share_a_fingerprint():
    plain = Image.new("RGB", (4, 3), "white")
    assert fingerprint(plain) == fingerprint(Image.new("RGBA", (90, 90), (9, 9, 9, 0))) == fingerprint(reread(plain))
    assert fingerprint(plain) != fingerprint(Image.new("RGB", (4, 3), (255, 255, 254)))
    assert fingerprint(Image.fromarray(RAMP)) != fingerprint(Image.fromarray(RAMP[::-1]))


class TestTransparency:
    @pytest.mark.parametrize("mode", ["RGBA", "LA"])
    def test_becomes_white(self, mode):
        image = Image.new(mode, SIZE[::-1], (10, 10, 10, 0) if mode == "RGBA" else (10, 0))
        assert (to_array(reread(image), SIZE) == 255).all()

    def test_that_is_half_makes_a_colour_lighter(self):
        image = Image.new("RGBA", SIZE[::-1], (100, 0, 0, 128))
        assert np.abs(to_array(image, SIZE)[:, 0, 0].astype(int) - [177, 127, 127]).max() <= 1

    def test_of_a_palette_colour_becomes_white(self):
        image = Image.new("P", SIZE[::-1], 0)
        image.putpalette([9, 9, 9, 0, 0, 255])
        image.putpixel((0, 0), 1)
        image.info["transparency"] = 0
        array = to_array(reread(image), SIZE)
        assert array[:, 0, 0].tolist() == [0, 0, 255]
        assert (array[:, 1:] == 255).all()

    @pytest.mark.parametrize(
        ("image", "transparent"),
        [
            (Image.new("1", (8, 6), 0), 0),
            (Image.new("L", (8, 6), 7), 7),
            (Image.fromarray(np.full((6, 8), 777, np.uint16)), 777),
            (Image.new("RGB", (8, 6), (1, 2, 3)), (1, 2, 3)),
        ],
    )
    def test_of_one_colour_becomes_white(self, tmp_path, image, transparent):
        image.save(tmp_path / "a.png", transparency=transparent)
        assert (open_image(tmp_path / "a.png", SIZE) == 255).all()

    @pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "P"])
    def test_is_replaced_strip_by_strip_in_a_large_image(self, mode, monkeypatch):
        rng = np.random.default_rng(3)
        image = Image.fromarray(rng.integers(0, 256, (9, 7, 4), np.uint8), "RGBA")
        image = image.quantize(16) if mode in ("P", "PA") else image.convert(mode)
        if mode == "PA":
            image = image.convert("PA")
        elif mode == "P":
            image.info["transparency"] = bytes(range(0, 160, 10))
        at_once = to_array(image, (9, 7))
        monkeypatch.setattr("fedbbpt.data.images.STRIP", 15)
        assert to_array(image, (9, 7)).tobytes() == at_once.tobytes()


class TestDeepGrey:
    @pytest.mark.parametrize(
        ("values", "kind"),
        [
            (np.uint16(RAMP) * 257, "png"),
            (np.uint16(RAMP) * 257, "pgm"),
            (np.uint16(RAMP) * 257, "tif"),
            ((np.uint16(RAMP) * 257).astype(">u2"), "tif"),
            (np.float32(RAMP / 255), "tif"),
        ],
    )
    def test_keeps_its_gradations(self, tmp_path, values, kind):
        Image.fromarray(values).save(tmp_path / f"a.{kind}")
        assert np.abs(open_image(tmp_path / f"a.{kind}", SIZE).astype(int) - RAMP).max() <= 1

    def test_of_16_bits_is_rounded_to_the_nearest_of_8(self):
        values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
        expected = (values.astype(np.uint32) + 128) // 257
        assert (to_array(Image.fromarray(values), (256, 256)) == expected).all()

    @pytest.mark.parametrize(
        ("values", "error"),
        [
            (np.float32(RAMP), "reach from 0 to 255, and nothing says which of them is white"),
            (np.float32(RAMP) - 1, "reach from -1 to 254"),
            (np.int32(RAMP) * 257, "reach from 0 to 65535"),
            (np.full(SIZE, np.nan, np.float32), "not numbers"),
            (np.where(RAMP > 100, np.inf, 0).astype(np.float32), "reach from 0 to inf"),
        ],
    )
    def test_without_a_scale_is_refused(self, tmp_path, values, error):
        Image.fromarray(values).save(tmp_path / "a.tif")
        with pytest.raises(DataError, match=rf"a\.tif .*{error}"):
            open_image(tmp_path / "a.tif", SIZE)
