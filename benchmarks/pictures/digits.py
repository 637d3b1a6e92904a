"""MNIST, and what BlackVIP (Oh et al. 2023) made of it to see what a model looks at."""

import itertools
from collections.abc import Iterator

import numpy as np
from PIL import Image

from fedbbpt.assets.archive import member
from fedbbpt_benchmarks.pictures.picture import Picture

# ReBias (Bahng et al. 2020): the background of each digit.
COLOURS = (
    *((255, 0, 0), (0, 255, 0), (0, 0, 255), (225, 225, 0), (225, 0, 225)),
    *((0, 255, 255), (255, 128, 0), (255, 0, 128), (128, 0, 255), (128, 128, 128)),
)
CANVAS = 224  # px of Loc-MNIST


def mnist(side: str, count: int) -> Iterator[Picture]:
    """The first `count` digits of the official "train" or "test" file (LeCun et al. 1998)."""
    stem = {"train": "train", "test": "t10k"}[side]
    pixels = np.frombuffer(member("mnist", f"package/data/{stem}-images-idx3-ubyte"), np.uint8, offset=16)
    labels = np.frombuffer(member("mnist", f"package/data/{stem}-labels-idx1-ubyte"), np.uint8, offset=8)
    for i, (label, drawing) in enumerate(zip(labels[:count], pixels.reshape(-1, 28, 28), strict=False)):
        yield Picture(f"mnist/{side}/{i}", str(label), Image.fromarray(drawing), official=side == "test")


def both_sides() -> Iterator[Picture]:
    """5,000 digits of either official file: the first ones for training; every second one of the test file, since its
    first half is easier than its second."""
    yield from mnist("train", 5_000)
    yield from itertools.islice(mnist("test", 10_000), None, None, 2)


def biased(correlation: float) -> Iterator[Picture]:
    """White digits on a colour that tells the digit with probability ρ = `correlation`; in the test with 1 − ρ.

    Else it is one of the other nine colours (Bahng et al. 2020, ColourBiasedMNIST; the two probabilities: BlackVIP).
    """
    rng = np.random.default_rng(0)
    for picture in both_sides():
        digit, ink = int(picture.label), np.asarray(picture.image)
        telling = rng.random() < (1 - correlation if picture.official else correlation)
        colour = digit if telling else (digit + rng.integers(1, 10)) % 10
        canvas = np.where(ink[..., None] > 0, 255, np.array(COLOURS[colour])).astype(np.uint8)
        yield picture._replace(image=Image.fromarray(canvas))


def located(distractor: int) -> Iterator[Picture]:
    """The digit to be told stands somewhere at the edge; in the centre another one, `distractor` times as large.

    224 px, black, digits of 28 px (BlackVIP, Loc-MNIST).
    """
    rng = np.random.default_rng(0)
    everything = list(both_sides())
    for for_test in (False, True):
        digits = [picture for picture in everything if picture.for_test == for_test]
        for picture in digits:
            canvas = Image.new("L", (CANVAS, CANVAS))
            free = CANVAS - 28
            along, edge = int(rng.integers(free + 1)), int(free * rng.integers(2))
            canvas.paste(picture.image, (along, edge) if rng.integers(2) else (edge, along))
            other, size = digits[rng.integers(len(digits))].image, 28 * distractor
            corner = (CANVAS - size) // 2
            canvas.paste(other.resize((size, size), Image.Resampling.BILINEAR), (corner, corner))
            yield picture._replace(image=canvas)
