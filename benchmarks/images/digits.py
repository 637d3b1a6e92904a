"""MNIST, and the variants of BlackVIP (Oh et al. 2023, arXiv 2303.14773) that test what a model looks at."""

import itertools
from collections.abc import Iterator

import numpy as np
from PIL import Image

from fedbbpt.assets.archive import member
from fedbbpt_benchmarks.images.example import ImageExample

# The background colour of each digit in ReBias (Bahng et al. 2020).
COLOURS = (
    *((255, 0, 0), (0, 255, 0), (0, 0, 255), (225, 225, 0), (225, 0, 225)),
    *((0, 255, 255), (255, 128, 0), (255, 0, 128), (128, 0, 255), (128, 128, 128)),
)
CANVAS = 224  # px of Loc-MNIST


def mnist(side: str, count: int) -> Iterator[ImageExample]:
    """The first `count` digits of the official "train" or "test" file (LeCun et al. 1998)."""
    stem = {"train": "train", "test": "t10k"}[side]
    pixels = np.frombuffer(member("mnist", f"package/data/{stem}-images-idx3-ubyte"), np.uint8, offset=16)
    labels = np.frombuffer(member("mnist", f"package/data/{stem}-labels-idx1-ubyte"), np.uint8, offset=8)
    for i, (label, drawing) in enumerate(zip(labels[:count], pixels.reshape(-1, 28, 28), strict=False)):
        yield ImageExample(f"mnist/{side}/{i}", str(label), Image.fromarray(drawing), official=side == "test")


def mnist_5k() -> Iterator[ImageExample]:
    """5,000 digits of each official file: the first of the training file, every second one of the test file.

    The first half of the test file is easier than the second.
    """
    yield from mnist("train", 5_000)
    yield from itertools.islice(mnist("test", 10_000), None, None, 2)


def biased_mnist(correlation: float) -> Iterator[ImageExample]:
    """White digits on a background colour that reveals the digit with probability ρ = `correlation`, 1 − ρ in the test.

    Otherwise the background has one of the other nine colours (ColourBiasedMNIST, Bahng et al. 2020; the probabilities
    are BlackVIP's).
    """
    rng = np.random.default_rng(0)
    for example in mnist_5k():
        digit, ink = int(example.label), np.asarray(example.image)
        reveals = rng.random() < (1 - correlation if example.official else correlation)
        colour = digit if reveals else (digit + rng.integers(1, 10)) % 10
        canvas = np.where(ink[..., None] > 0, 255, np.array(COLOURS[colour])).astype(np.uint8)
        yield example._replace(image=Image.fromarray(canvas))


def loc_mnist(distractor: int) -> Iterator[ImageExample]:
    """The digit to classify (28 px) at the edge of a black canvas of 224 px, and a distractor in its centre.

    The distractor is another digit, `distractor` times as large (Loc-MNIST of BlackVIP).
    """
    rng = np.random.default_rng(0)
    everything = list(mnist_5k())
    for for_test in (False, True):
        digits = [example for example in everything if example.for_test == for_test]
        for example in digits:
            canvas = Image.new("L", (CANVAS, CANVAS))
            free = CANVAS - 28
            along, edge = int(rng.integers(free + 1)), int(free * rng.integers(2))
            canvas.paste(example.image, (along, edge) if rng.integers(2) else (edge, along))
            other, size = digits[rng.integers(len(digits))].image, 28 * distractor
            corner = (CANVAS - size) // 2
            canvas.paste(other.resize((size, size), Image.Resampling.BILINEAR), (corner, corner))
            yield example._replace(image=canvas)
