"""Image files of all formats are read upright, at the wanted size, or refused in a sentence."""

import errno
import os
import tempfile

import numpy as np
import pytest
from PIL import Image

from fedbbpt.data import images
from fedbbpt.data.images import open_image, open_images, to_array
from fedbbpt.errors import DataError

SIZE = (6, 8)
IMAGE = Image.linear_gradient("L").resize(SIZE[::-1])
LANDSCAPE = np.zeros((20, 40, 3), np.uint8)  # white at the left, which is at the top once it is turned
LANDSCAPE[:, :20] = 255
ORIENTATION = 274  # the EXIF tag


def test_size_is_height_and_width():
    assert to_array(IMAGE, (5, 9)).shape == (3, 5, 9)


def test_resizing_keeps_a_plain_colour():
    array = to_array(Image.new("RGB", (31, 17), (10, 20, 30)), (4, 7))
    assert (array == np.array([10, 20, 30])[:, None, None]).all()


@pytest.mark.parametrize("kind", ["gif", "webp", "png", "tif", "avif"])
def test_the_first_of_several_frames_is_read(tmp_path, kind):
    first, *more = (Image.new("RGB", (8, 6), colour) for colour in ("red", "blue"))
    first.save(tmp_path / f"a.{kind}", save_all=True, append_images=more)
    red, green, blue = open_image(tmp_path / f"a.{kind}", SIZE).mean((1, 2))
    assert red > 250 > 5 > max(green, blue)


class TestOrientation:
    @pytest.mark.parametrize("kind", ["jpg", "png", "webp", "avif", "tif"])
    def test_images_are_upright(self, tmp_path, kind):
        exif = Image.Exif()
        exif[ORIENTATION] = 6
        options = {"tiffinfo": {ORIENTATION: 6}} if kind == "tif" else {"exif": exif}
        Image.fromarray(LANDSCAPE).save(tmp_path / f"a.{kind}", **options)
        read = open_image(tmp_path / f"a.{kind}", (40, 20))
        assert read[:, 2:18].min() > 240
        assert read[:, 22:].max() < 15

    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_it_is_undone_once(self, orientation):
        pixels = np.random.default_rng(0).integers(0, 256, (6, 6, 3), np.uint8)
        image = Image.fromarray(pixels)
        image.getexif()[ORIENTATION] = orientation
        expected = {
            1: pixels,
            2: pixels[:, ::-1],
            3: pixels[::-1, ::-1],
            4: pixels[::-1],
            5: pixels.swapaxes(0, 1),
            6: np.rot90(pixels, -1),
            7: np.rot90(pixels, 2).swapaxes(0, 1),
            8: np.rot90(pixels),
        }[orientation]
        assert np.array_equal(to_array(image, (6, 6)), expected.transpose(2, 0, 1))

    def test_damaged_exif_does_not_make_an_image_unreadable(self, tmp_path):
        Image.fromarray(LANDSCAPE).save(tmp_path / "a.png", exif=b"Exif\0\0this is no EXIF")
        assert open_image(tmp_path / "a.png", (20, 40))[0, 0].tolist() == [255] * 20 + [0] * 20

    def test_damaged_exif_is_no_warning(self, tmp_path, recwarn):
        IMAGE.save(tmp_path / "a.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
        open_image(tmp_path / "a.jpg", SIZE)
        assert not recwarn.list


class TestHeic:
    def test_photographs_of_phones_are_read(self, tmp_path):
        assert images._reads_heif()
        Image.fromarray(LANDSCAPE).resize((128, 64)).save(tmp_path / "a.HEIC", "heif")
        read = open_image(tmp_path / "a.HEIC", (20, 40))
        assert read[:, :, :18].min() > 240
        assert read[:, :, 22:].max() < 15

    def test_without_the_library_the_error_names_it(self, tmp_path, monkeypatch):
        (tmp_path / "photo.jpg").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0")
        monkeypatch.setattr(images, "_reads_heif", lambda: False)
        with pytest.raises(DataError, match=r"photo\.jpg is a HEIC image.*pip install 'fedbbpt\[heic\]'"):
            open_image(tmp_path / "photo.jpg", SIZE)


class TestDecodedToDisk:
    def test_files_are_read_once(self, tmp_path):
        files = [tmp_path / f"{i}.png" for i in range(3)]
        for i, file in enumerate(files):
            Image.new("RGB", (8, 6), (i, 2 * i, 255)).save(file)
        opened = open_images(files, SIZE)
        expected = [open_image(file, SIZE) for file in files]
        for file in files:
            file.unlink()
        assert opened.shape == (3, 3, *SIZE)
        assert all(np.array_equal(opened[i], expected[i]) for i in range(3))
        assert np.array_equal(opened.take(np.array([2, 0]))[:], [expected[2], expected[0]])

    def test_a_full_disk_is_one_sentence(self, tmp_path, monkeypatch):
        IMAGE.save(tmp_path / "0.png")

        def full():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(tempfile, "TemporaryFile", full)
        with pytest.raises(DataError, match=r"no space left on device\); TMPDIR"):
            open_images([tmp_path / "0.png"], SIZE)

    def test_all_unreadable_files_are_named_at_once(self, tmp_path):
        files = [tmp_path / f"{i}.png" for i in range(6)]
        for file in files:
            file.touch()
        IMAGE.save(files[2])
        with pytest.raises(DataError, match=r"0\.png .*4 more cannot be read: .*1\.png, .*3\.png, .*4\.png, …\)"):
            open_images(files, SIZE)


class TestUnreadable:
    @pytest.mark.parametrize(
        ("make", "error"),
        [
            (lambda file: None, "no file"),
            (lambda file: file.touch(), "it is empty"),
            (lambda file: file.mkdir(), "is a folder; name the images in it"),
            (lambda file: file.symlink_to(file), "too many levels of symbolic links"),
            (lambda file: file.write_bytes(b"GIF89a"), "damaged"),
            (lambda file: file.write_text("a text"), "not an image"),
        ],
    )
    def test_the_error_says_why(self, tmp_path, make, error):
        make(tmp_path / "a.png")
        with pytest.raises(DataError, match=error):
            open_image(tmp_path / "a.png", SIZE)

    def test_no_other_program_renders_an_image(self, tmp_path, monkeypatch):
        monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", lambda *_, **__: pytest.fail("Ghostscript runs"))
        IMAGE.save(tmp_path / "a.png", "eps")
        with pytest.raises(DataError, match="not an image, or damaged"):
            open_image(tmp_path / "a.png", SIZE)

    def test_too_many_pixels_are_refused(self, tmp_path, monkeypatch):
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
        IMAGE.save(tmp_path / "a.png")
        with pytest.raises(DataError, match="too many pixels"):
            open_image(tmp_path / "a.png", SIZE)
