import errno
import io
import os
import tempfile

import numpy as np
import pytest
from PIL import Image

from fedbbpt.data import images
from fedbbpt.data.images import fingerprint, open_image, open_images, to_array
from fedbbpt.errors import DataError

SIZE = (6, 8)
RAMP = np.linspace(0, 255, 48).astype(np.uint8).reshape(SIZE)


def reread(image, kind="png"):
    """The image as a file has it."""
    file = io.BytesIO()
    image.save(file, kind)
    return Image.open(file)


def test_a_damaged_note_about_a_picture_says_nothing(tmp_path, recwarn):
    Image.fromarray(RAMP).save(tmp_path / "a.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    open_image(tmp_path / "a.jpg", SIZE)
    assert not recwarn.list


def test_no_other_program_draws_a_picture(tmp_path, monkeypatch):
    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", lambda *_, **__: pytest.fail("Ghostscript runs"))
    Image.fromarray(RAMP).save(tmp_path / "a.png", "eps")
    with pytest.raises(DataError, match="not an image, or damaged"):
        open_image(tmp_path / "a.png", SIZE)


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
    pictures = open_images(files, SIZE)
    expected = [open_image(file, SIZE) for file in files]
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
        open_images([tmp_path / "0.png"], SIZE)


LYING = np.zeros((20, 40, 3), np.uint8)  # white at the left, which is at the top once it is turned
LYING[:, :20] = 255


def turned(orientation):
    exif = Image.Exif()
    exif[274] = orientation
    return exif


@pytest.mark.parametrize("kind", ["jpg", "png", "webp", "avif", "tif"])
def test_pictures_stand_upright(tmp_path, kind):
    file = tmp_path / f"a.{kind}"
    more = {"tiffinfo": {274: 6}} if kind == "tif" else {"exif": turned(6)}
    Image.fromarray(LYING).save(file, **more)
    read = open_image(file, (40, 20))
    assert read[:, 2:18].min() > 240
    assert read[:, 22:].max() < 15


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_undone_once(orientation):
    pixels = np.random.default_rng(0).integers(0, 256, (6, 6, 3), np.uint8)
    picture = reread(Image.fromarray(pixels))
    picture.getexif()[274] = orientation
    seen = {
        1: pixels,
        2: pixels[:, ::-1],
        3: pixels[::-1, ::-1],
        4: pixels[::-1],
        5: pixels.swapaxes(0, 1),
        6: np.rot90(pixels, -1),
        7: np.rot90(pixels, 2).swapaxes(0, 1),
        8: np.rot90(pixels),
    }[orientation]
    assert np.array_equal(to_array(picture, (6, 6)), seen.transpose(2, 0, 1))


def test_damaged_notes_do_not_make_a_picture_unreadable(tmp_path):
    Image.fromarray(LYING).save(tmp_path / "a.png", exif=b"Exif\0\0this is no EXIF")
    assert open_image(tmp_path / "a.png", (20, 40))[0, 0].tolist() == [255] * 20 + [0] * 20


@pytest.mark.parametrize(
    "values", [np.float32(RAMP / 255), np.uint16(RAMP) * 257, (np.uint16(RAMP) * 257).astype(">u2")]
)
def test_deep_grey_keeps_its_gradations(tmp_path, values):
    Image.fromarray(values).save(tmp_path / "a.tif")
    assert np.abs(open_image(tmp_path / "a.tif", SIZE).astype(int) - RAMP).max() <= 1


def test_deep_grey_of_a_portable_graymap(tmp_path):
    Image.fromarray(np.uint16(RAMP) * 257).save(tmp_path / "a.pgm")
    assert np.abs(open_image(tmp_path / "a.pgm", SIZE).astype(int) - RAMP).max() <= 1


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (np.float32(RAMP), "reach from 0 to 255, and nothing says which of them is white"),
        (np.float32(RAMP) - 1, "reach from -1 to 254"),
        (np.int32(RAMP) * 257, "reach from 0 to 65535"),
        (np.full(SIZE, np.nan, np.float32), "not numbers"),
        (np.where(RAMP > 100, np.inf, 0).astype(np.float32), "reach from 0 to inf"),
    ],
)
def test_values_without_a_scale_are_refused(tmp_path, values, says):
    Image.fromarray(values).save(tmp_path / "a.tif")
    with pytest.raises(DataError, match=rf"a\.tif .*{says}"):
        open_image(tmp_path / "a.tif", SIZE)


@pytest.mark.parametrize(
    ("picture", "transparent"),
    [
        (Image.new("1", (8, 6), 0), 0),
        (Image.new("L", (8, 6), 7), 7),
        (Image.fromarray(np.full((6, 8), 777, np.uint16)), 777),
        (Image.new("RGB", (8, 6), (1, 2, 3)), (1, 2, 3)),
    ],
)
def test_a_transparent_colour_becomes_white(tmp_path, picture, transparent):
    picture.save(tmp_path / "a.png", transparency=transparent)
    assert (open_image(tmp_path / "a.png", SIZE) == 255).all()


def test_inks_become_light(tmp_path):
    Image.new("CMYK", (8, 6), (255, 0, 0, 0)).save(tmp_path / "a.tif")
    assert open_image(tmp_path / "a.tif", SIZE)[:, 0, 0].tolist() == [0, 255, 255]


@pytest.mark.parametrize("kind", ["gif", "webp", "png", "tif", "avif"])
def test_the_first_of_several_frames_is_read(tmp_path, kind):
    first, *more = (Image.new("RGB", (8, 6), colour) for colour in ("red", "blue"))
    first.save(tmp_path / f"a.{kind}", save_all=True, append_images=more)
    red, green, blue = open_image(tmp_path / f"a.{kind}", SIZE).mean((1, 2))
    assert red > 250 > 5 > max(green, blue)


def test_photographs_of_phones_are_read(tmp_path):
    assert images._reads_heif()
    Image.fromarray(LYING).resize((128, 64)).save(tmp_path / "a.HEIC", "heif")
    read = open_image(tmp_path / "a.HEIC", (20, 40))
    assert read[:, :, :18].min() > 240
    assert read[:, :, 22:].max() < 15


def test_photographs_of_phones_are_named_where_they_cannot_be_read(tmp_path, monkeypatch):
    (tmp_path / "photo.jpg").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0")
    monkeypatch.setattr(images, "_reads_heif", lambda: False)
    with pytest.raises(DataError, match=r"photo\.jpg is a HEIC image.*pip install 'fedbbpt\[heic\]'"):
        open_image(tmp_path / "photo.jpg", SIZE)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda file: None, "no file"),
        (lambda file: file.touch(), "it is empty"),
        (lambda file: file.mkdir(), "is a folder; name the images in it"),
        (lambda file: file.symlink_to(file), "too many levels of symbolic links"),
        (lambda file: file.write_bytes(b"GIF89a"), "damaged"),
        (lambda file: file.write_text("a text"), "not an image"),
    ],
)
def test_what_cannot_be_read_is_said(tmp_path, make, says):
    make(tmp_path / "a.png")
    with pytest.raises(DataError, match=says):
        open_image(tmp_path / "a.png", SIZE)


def test_too_many_pixels_are_said(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    Image.fromarray(RAMP).save(tmp_path / "a.png")
    with pytest.raises(DataError, match="too many pixels"):
        open_image(tmp_path / "a.png", SIZE)


def test_all_unreadable_pictures_are_told_at_once(tmp_path):
    files = [tmp_path / f"{i}.png" for i in range(6)]
    for file in files:
        file.touch()
    Image.fromarray(RAMP).save(files[2])
    with pytest.raises(DataError, match=r"0\.png .*4 more cannot be read: .*1\.png, .*3\.png, .*4\.png, …\)"):
        open_images(files, SIZE)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "P"])
def test_a_large_picture_becomes_opaque_strip_by_strip(mode, monkeypatch):
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


def test_all_greys_of_16_bits_are_rounded_to_the_nearest_of_8():
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    expected = (values.astype(np.uint32) + 128) // 257
    assert (to_array(Image.fromarray(values), (256, 256)) == expected).all()
