"""Clients' images are read as a task's own are, or refused before they are decoded."""

import base64
import struct
import zlib
from collections.abc import Callable
from io import BytesIO
from typing import Any

import httpx2
import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from fedbbpt.backend import Backend, BackendInfo, BackendOutput
from fedbbpt.data.images import to_array
from fedbbpt.serve import HttpError
from fedbbpt.serve.images import MAX_PIXELS_HELD, EncodedImages, refuse_decompression_bombs

MANY = 10**9


def _encoded(image: Image.Image, kind: str = "png", **options: Any) -> str:
    file = BytesIO()
    image.save(file, kind, **options)
    return base64.b64encode(file.getvalue()).decode()


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _png(width: int, height: int, *more: bytes) -> str:
    """A PNG whose header claims this size, with hardly any data."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(3 * 1000 + 1))
    file = [b"\x89PNG\r\n\x1a\n", _chunk(b"IHDR", header), *more, _chunk(b"IDAT", pixels), _chunk(b"IEND", b"")]
    return base64.b64encode(b"".join(file)).decode()


@pytest.fixture
def image() -> Image.Image:
    return Image.fromarray(np.random.default_rng(1).integers(0, 256, (9, 7, 3), np.uint8))


@pytest.fixture
def undecoded(monkeypatch: pytest.MonkeyPatch) -> Callable[[], bool]:
    """Whether no pixel was decoded yet."""
    decoded = []
    load = Image.Image.load
    monkeypatch.setattr(Image.Image, "load", lambda opened: decoded.append(opened) or load(opened))
    return lambda: not decoded


def test_images_are_read_as_a_task_reads_them(image: Image.Image) -> None:
    expected = to_array(image, (8, 8))
    for before in ("", "data:image/png;base64,", "data:image/jpg;base64,"):
        read = EncodedImages([before + _encoded(image)], (8, 8), MANY).decode()
        assert read.dtype == np.uint8
        assert read[0].tobytes() == expected.tobytes()


def test_jpegs_are_read(image: Image.Image) -> None:
    assert EncodedImages([_encoded(image, "jpeg"), _encoded(image)], (8, 8), MANY).decode().shape == (2, 3, 8, 8)


@pytest.mark.parametrize("kind", ["gif", "bmp", "tiff", "webp", "ppm"])
def test_other_formats_are_refused(image: Image.Image, kind: str) -> None:
    with pytest.raises(HttpError, match="cannot be read as PNG or JPEG"):
        EncodedImages([_encoded(image, kind)], (8, 8), MANY).decode()


@pytest.mark.parametrize("encoded", ["", "§", "http://127.0.0.1/secret.png", "aGFsbG8=", "data:image/png;base64,"])
def test_malformed_input_is_refused(encoded: str) -> None:
    with pytest.raises(HttpError) as refused:
        EncodedImages([encoded], (8, 8), MANY).decode()
    assert refused.value.status == 400


def test_damaged_images_are_refused(image: Image.Image) -> None:
    data = base64.b64decode(_encoded(image))
    for cut in range(0, len(data) - 40, 7):
        with pytest.raises(HttpError) as refused:
            EncodedImages([base64.b64encode(data[:cut]).decode()], (8, 8), MANY).decode()
        assert refused.value.status == 400


def test_pixels_are_counted_before_they_are_decoded(undecoded: Callable[[], bool]) -> None:
    for encoded in ([_png(4000, 4000)], [_png(2000, 2000)] * 3):
        with pytest.raises(HttpError, match="pixels together") as refused:
            EncodedImages(encoded, (8, 8), 10_000_000)
        assert refused.value.status == 413
    assert undecoded()


@pytest.mark.parametrize(("width", "height"), [(1, 2_000_000), (20_000_000, 1), (8_000, 8_000)])
def test_an_image_that_takes_much_memory_is_refused_by_its_header(
    undecoded: Callable[[], bool], width: int, height: int
) -> None:
    with pytest.raises(HttpError, match="too many pixels") as refused:
        EncodedImages([_png(width, height)], (224, 224), MANY)
    assert refused.value.status == 413
    assert undecoded()


def test_many_small_images_count_at_the_models_size(undecoded: Callable[[], bool]) -> None:
    many = [_png(1, 1)] * (1 + MAX_PIXELS_HELD // 224**2)
    with pytest.raises(HttpError, match="too many images") as refused:
        EncodedImages(many, (224, 224), MANY)
    assert refused.value.status == 413
    assert EncodedImages(many[:100], (224, 224), MANY).pixels == 100 * 224**2 + 1 + 224 + 8
    assert undecoded()


def test_a_bomb_is_refused_by_its_header(undecoded: Callable[[], bool]) -> None:
    refuse_decompression_bombs()
    for side in (10_000, 65_000):  # above Pillow's limits for a warning and for an error
        with pytest.raises(HttpError, match="too many pixels") as refused:
            EncodedImages([_png(side, side)], (8, 8), 10**12)
        assert refused.value.status == 413
    assert undecoded()


def test_a_bomb_in_a_comment_is_refused() -> None:
    comment = _chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(100_000_000)))
    with pytest.raises(HttpError, match="cannot be read") as refused:
        EncodedImages([_png(10, 10, comment)], (8, 8), MANY).decode()
    assert refused.value.status == 400


def test_a_service_survives_bombs(serving: Any, image: Image.Image) -> None:
    comment = _chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(100_000_000)))
    with serving(Blind()) as url, httpx2.Client(base_url=url) as client:
        for bomb, status in ((_png(10_000, 10_000), 413), (_png(65_000, 65_000), 413), (_png(10, 10, comment), 400)):
            refused = client.post("/v1/classify", json={"inputs": [_encoded(image), bomb]})
            assert refused.status_code == status
        answered = client.post("/v1/classify", json={"inputs": [_encoded(image)]})
        assert answered.json()["scores"] == [[0, 0]]


def test_the_comments_of_all_chunks_count_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PngImagePlugin, "MAX_TEXT_MEMORY", PngImagePlugin.MAX_TEXT_MEMORY)  # restored at the end
    refuse_decompression_bombs()
    comment = _chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(600_000)))
    assert EncodedImages([_png(2, 2, comment)], (8, 8), MANY).pixels
    with pytest.raises(HttpError, match="cannot be read"):
        EncodedImages([_png(2, 2, comment, comment)], (8, 8), MANY)


class Blind(Backend):
    """Scores every image with 0."""

    info = BackendInfo("blind", (8, 8), ("day", "night"), "logits", 4)

    def query(self, inputs: Any) -> BackendOutput:
        return BackendOutput(np.zeros((len(inputs), 2), np.float32))
