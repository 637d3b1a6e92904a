"""Images that are drawn here, without any archive."""

import math
from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from fedbbpt_benchmarks.images.example import ImageExample

SIDE = 64  # px
SHAPES = ("circle", "cross", "square", "triangle")
ANGLES = ("0", "45", "90", "135")
LETTERS = "ABCDEFGHIJ"
EACH = 60  # images per class, in training and in test


def shapes() -> Iterator[ImageExample]:
    """A shape in one colour on another, anywhere, of any size."""
    for name, i, for_test, rng in _turns(SHAPES, seed=1):
        back, front = (tuple(int(v) for v in rng.integers(low, low + 128, 3)) for low in rng.permutation([0, 128]))
        canvas = Image.new("RGB", (SIDE, SIDE), back)
        r = rng.uniform(9, 20)
        x, y = rng.uniform(r, SIDE - r, 2)
        pen = ImageDraw.Draw(canvas)
        if name == "circle":
            pen.ellipse((x - r, y - r, x + r, y + r), front)
        elif name == "square":
            pen.rectangle((x - r, y - r, x + r, y + r), front)
        elif name == "triangle":
            pen.polygon([(x, y - r), (x - r, y + r), (x + r, y + r)], front)
        else:
            pen.rectangle((x - r, y - r / 3, x + r, y + r / 3), front)
            pen.rectangle((x - r / 3, y - r, x + r / 3, y + r), front)
        yield ImageExample(f"shapes/{name}/{i}", name, canvas, for_test)


def stripes() -> Iterator[ImageExample]:
    """Noisy stripes in one of four directions."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    for name, i, for_test, rng in _turns(ANGLES, seed=2):
        angle = math.radians(float(name) + rng.normal(0, 4))
        across = columns * math.sin(angle) + rows * math.cos(angle)
        wave = np.sin(across * 2 * math.pi / rng.uniform(6, 16) + rng.uniform(0, 2 * math.pi))
        noisy = 127 + 90 * wave + rng.normal(0, 50, wave.shape)
        canvas = Image.fromarray(noisy.clip(0, 255).astype(np.uint8))
        yield ImageExample(f"stripes/{name}/{i}", name, canvas, for_test)


def pillow_letters() -> Iterator[ImageExample]:
    """A to J in Pillow's own type, turned, moved, large and small."""
    for name, i, for_test, rng in _turns(LETTERS, seed=3):
        letter = Image.new("L", (SIDE, SIDE), 255)
        font = ImageFont.load_default(float(rng.integers(22, 44)))
        ImageDraw.Draw(letter).text((SIDE / 2, SIDE / 2), name, 0, font, anchor="mm")
        moved = tuple(int(v) for v in rng.integers(-8, 9, 2))
        canvas = letter.rotate(rng.uniform(-25, 25), Image.Resampling.BILINEAR, translate=moved, fillcolor=255)
        yield ImageExample(f"pillow-letters/{name}/{i}", name, canvas, for_test)


def _turns(names: tuple[str, ...] | str, seed: int) -> Iterator[tuple[str, int, bool, np.random.Generator]]:
    """Yields class, number, whether it is for the test, and a generator, for each image of a set."""
    for label, name in enumerate(names):
        for i in range(2 * EACH):
            yield name, i, i >= EACH, np.random.default_rng([seed, label, i])
