"""Photographs and patches of them."""

import io
from collections.abc import Iterator
from pathlib import PurePosixPath

from PIL import Image

from fedbbpt.assets.archive import members
from fedbbpt.errors import MissingExtra
from fedbbpt_benchmarks.images.example import ImageExample, decode

TEXTURES = ("brick.png", "grass.png", "gravel.png")
PHOTOGRAPHS = [
    *("astronaut.png", "camera.png", "chelsea.png", "coffee.png", "coins.png", "hubble_deep_field.jpg", "moon.png"),
    *("motorcycle_left.png", "motorcycle_right.png", "rocket.jpg"),
]
PATCH = 64  # px


def textures() -> Iterator[ImageExample]:
    """64-px patches of photographs of brick, grass and gravel; the upper halves are for the test."""
    for path, contents in members("scikit-image", lambda p: PurePosixPath(p).name in TEXTURES):
        name, photograph = PurePosixPath(path).stem, decode(contents)
        middle = photograph.height // 2
        for top, left, patch in _patches(photograph):
            if not top < middle < top + PATCH:  # in one half
                yield ImageExample(f"texture/{name}/{top}/{left}", name, patch, official=top < middle)


def sample_photos() -> Iterator[ImageExample]:
    """Patches of a temple and of a flower; the left halves for training, the right halves for the test.

    Raises:
        MissingExtra: scikit-learn, which contains the two photographs, is not installed.
    """
    try:
        from sklearn.datasets import load_sample_images
    except ImportError as e:
        raise MissingExtra("the task 'sample-photos'", "local", e) from e
    for name, pixels in zip(("china", "flower"), load_sample_images().images, strict=True):
        middle = pixels.shape[1] // 2
        for for_test, half in ((False, pixels[:, :middle]), (True, pixels[:, middle:])):
            for top, left, patch in _patches(Image.fromarray(half)):
                yield ImageExample(f"{name}/{for_test}/{top}/{left}", name, patch, for_test)


def _patches(photograph: Image.Image) -> Iterator[tuple[int, int, Image.Image]]:
    """Yields top, left and pixels of the squares of a side of `PATCH`, each half over the next."""
    for top in range(0, photograph.height - PATCH + 1, PATCH // 2):
        for left in range(0, photograph.width - PATCH + 1, PATCH // 2):
            yield top, left, photograph.crop((left, top, left + PATCH, top + PATCH))


def large_photographs() -> Iterator[ImageExample]:
    """Large photographs to crop: scikit-image's, and the wallpapers that are licensed under CC-BY-SA-4.0."""
    for path, contents in members("scikit-image", lambda p: PurePosixPath(p).name in PHOTOGRAPHS):
        yield ImageExample(f"photo/{PurePosixPath(path).stem}", "", decode(contents))
    free, largest = set(), dict[str, tuple[int, Image.Image]]()
    for path, contents in members("wallpapers", lambda p: "/wallpapers/" in p and "/contents/screenshot" not in p):
        parts = PurePosixPath(path).parts
        title = parts[parts.index("wallpapers") + 1]
        if parts[-1].startswith("metadata") and b"CC-BY-SA-4.0" in contents:
            free.add(title)
        elif parts[-2] == "images":
            image = Image.open(io.BytesIO(contents))
            if len(contents) > largest.get(title, (0, image))[0]:
                largest[title] = len(contents), image
    for title in sorted(free):
        image = largest[title][1].convert("RGB")
        image.thumbnail((1600, 1600))
        yield ImageExample(f"photo/{title}", "", image)
