import errno
import io
import os
import tempfile

import numpy as np
import pytest
from PIL import Image

from fedbbpt.data.images import fingerprint, open_picture, open_pictures, to_array
from fedbbpt.errors import DataError

SIZE = (6, 8)
RAMP = np.linspace(0, 255, 48).astype(np.uint8).reshape(SIZE)


def reread(image, kind="png"):
    """The image as a file has it."""
    file = io.BytesIO()
    image.save(file, kind)
    return Image.open(file)


def test_colours_become_three_planes():
    pixels = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)
    array = to_array(reread(Image.fromarray(pixels)), SIZE)
    assert array.dtype == np.uint8
    assert np.array_equal(array, pixels.transpose(2, 0, 1))


def test_grey_is_the_same_in_all_channels():
    assert (to_array(reread(Image.fromarray(RAMP)), SIZE) == RAMP).all()


def test_sixteen_bit_grey_keeps_its_gradations():
    deep = Image.fromarray(RAMP.astype(np.uint16) * 257)
    assert np.abs(to_array(reread(deep), SIZE).astype(int) - RAMP).max() <= 1


def test_palette_is_looked_up():
    image = Image.fromarray(RAMP).convert("RGB").quantize(48)
    assert np.array_equal(to_array(reread(image), SIZE), np.asarray(image.convert("RGB")).transpose(2, 0, 1))


def test_black_and_white():
    assert np.array_equal(to_array(reread(Image.fromarray(RAMP > 100)), SIZE)[0], np.where(RAMP > 100, 255, 0))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_becomes_white(mode):
    image = Image.new(mode, SIZE[::-1], (10, 10, 10, 0) if mode == "RGBA" else (10, 0))
    assert (to_array(reread(image), SIZE) == 255).all()


def test_half_transparency_becomes_lighter():
    image = Image.new("RGBA", SIZE[::-1], (100, 0, 0, 128))
    assert np.abs(to_array(image, SIZE)[:, 0, 0].astype(int) - [177, 127, 127]).max() <= 1


def test_transparent_palette_colour_becomes_white():
    image = Image.new("P", SIZE[::-1], 0)
    image.putpalette([9, 9, 9, 0, 0, 255])
    image.putpixel((0, 0), 1)
    file = io.BytesIO()
    image.save(file, "png", transparency=0)
    array = to_array(Image.open(file), SIZE)
    assert array[:, 0, 0].tolist() == [0, 0, 255]
    assert (array[:, 1:] == 255).all()


def test_size_is_height_and_width():
    assert to_array(Image.fromarray(RAMP), (5, 9)).shape == (3, 5, 9)


def test_resizing_keeps_a_plain_colour():
    array = to_array(Image.new("RGB", (31, 17), (10, 20, 30)), (4, 7))
    assert (array == np.array([10, 20, 30])[:, None, None]).all()


def test_pictures_that_look_the_same_share_a_fingerprint():
    plain = Image.new("RGB", (4, 3), "white")
    assert fingerprint(plain) == fingerprint(Image.new("RGBA", (90, 90), (9, 9, 9, 0))) == fingerprint(reread(plain))
    assert fingerprint(plain) != fingerprint(Image.new("RGB", (4, 3), (255, 255, 254)))
    assert fingerprint(Image.fromarray(RAMP)) != fingerprint(Image.fromarray(RAMP[::-1]))


def test_files_are_decoded_once_to_disk(tmp_path):
    files = []
    for i in range(3):
        files.append(tmp_path / f"{i}.png")
        Image.fromarray(RAMP + np.uint8(i)).save(files[-1])
    pictures = open_pictures(files, SIZE)
    expected = [open_picture(file, SIZE) for file in files]
    for file in files:
        file.unlink()
    assert pictures.shape == (3, 3, *SIZE)
    assert all(np.array_equal(pictures[i], expected[i]) for i in range(3))
    assert np.array_equal(pictures.take(np.array([2, 0]))[:], [expected[2], expected[0]])


def test_no_space_for_decoded_pictures_is_one_sentence(tmp_path, monkeypatch):
    Image.fromarray(RAMP).save(tmp_path / "0.png")

    def full():
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    with pytest.raises(DataError, match=r"no space left on device\); TMPDIR"):
        open_pictures([tmp_path / "0.png"], SIZE)
