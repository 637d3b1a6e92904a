"""What the student is trained on: views of public pictures, none of them on the test side of a split of the suite."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fedbbpt.data.images import to_array
from fedbbpt_benchmarks import images
from fedbbpt_benchmarks.images import ImageExample

SIZE = 96  # px of a stored view
HELD_OUT = 500  # CIFAR pictures of the training part that measure progress and are never trained on
LETTERS = 1000  # rendered, of those on the training side
DIGITS = 3000


def _seen(read: Callable[[], Iterable[ImageExample]]) -> Callable[[], list[ImageExample]]:
    """The training side of a reader."""
    return lambda: [picture for picture in read() if not picture.for_test]


def _cifar10(part: slice) -> list[ImageExample]:
    everything, (seen, _) = list(images.cifar10()), images.cifar10_split()
    return [everything[i] for i in seen[part]]


def _letters() -> list[ImageExample]:
    letters = _seen(lambda: images.scripts())()
    chosen = np.random.default_rng(0).permutation(len(letters))[:LETTERS]
    return [letters[i] for i in sorted(chosen)]


@dataclass(frozen=True)
class Source:
    """A set of pictures and how many views of each are taken."""

    read: Callable[[], Iterable[ImageExample]]
    licence: str
    assets: tuple[str, ...]
    whole: int = 0  # the picture as it is
    crop: int = 0  # a random part of it, perhaps mirrored
    mix: int = 0  # half the time a blend with, half the time a patch of another picture of the source
    area: tuple[float, float] = (0.3, 1.0)  # of a crop, as a share of the picture
    labelled: bool = True  # its classes belong to a task, and may be learned


SOURCES = {
    "cifar10": Source(
        lambda: _cifar10(slice(None, -HELD_OUT)), "as bigbench, Apache-2.0", ("bigbench",), whole=1, crop=2, mix=2
    ),
    "held-out": Source(lambda: _cifar10(slice(-HELD_OUT, None)), "as bigbench, Apache-2.0", ("bigbench",), whole=1),
    "mnist": Source(lambda: images.mnist("train", DIGITS), "ISC", ("mnist",), whole=1),
    "emoji-twitter": Source(_seen(lambda: images.emoji("twitter")), "CC-BY-4.0", ("emoji-twitter",), whole=1),
    "emoji-google": Source(
        _seen(lambda: images.emoji("google")), "Apache-2.0", ("emoji-twitter", "emoji-google"), whole=1
    ),
    "emoji-fluent": Source(_seen(lambda: images.emoji("fluent")), "MIT", ("emoji-twitter", "emoji-fluent"), whole=1),
    "openclipart": Source(_seen(lambda: images.clipart()), "public domain", ("openclipart",), whole=1, labelled=False),
    "letters": Source(_letters, "OFL-1.1", ("noto",), whole=1),
    "photographs": Source(
        lambda: images.large_photographs(),
        "BSD-3-Clause and CC-BY-SA-4.0",
        ("scikit-image", "wallpapers"),
        crop=150,
        area=(0.02, 0.5),
        labelled=False,
    ),
}


@dataclass(frozen=True)
class View:
    """How one view is made; `source` and `kind` together are its group: what it is compared with."""

    source: str
    kind: str  # whole, crop or mix
    picture: int  # index into the source's pictures
    seed: int


def plan() -> tuple[list[View], dict[str, list[ImageExample]]]:
    """All views in a random order, so that any beginning of it is a fair sample, and the pictures they are made of."""
    read = {name: list(source.read()) for name, source in SOURCES.items()}
    views = [
        View(name, kind, picture, seed)
        for name, source in SOURCES.items()
        for kind, count in (("whole", source.whole), ("crop", source.crop), ("mix", source.mix))
        for picture in range(len(read[name]))
        for seed in range(count)
    ]
    order = np.random.default_rng(0).permutation(len(views))
    return [views[i] for i in order], read


def render(view: View, read: dict[str, list[ImageExample]]) -> NDArray[np.uint8]:
    """The view as (3, 96, 96)."""
    source, siblings = SOURCES[view.source], read[view.source]
    kind = ("whole", "crop", "mix").index(view.kind)
    rng = np.random.default_rng([view.seed, view.picture, kind, *view.source.encode()])
    image = siblings[view.picture].image
    if view.kind == "whole":
        return to_array(image, (SIZE, SIZE))
    cropped = to_array(_crop(image, source.area, rng), (SIZE, SIZE))
    if view.kind == "crop":
        return cropped
    other = siblings[rng.integers(len(siblings))].image
    second = to_array(_crop(other, source.area, rng), (SIZE, SIZE))
    share = rng.uniform(0.2, 0.8)
    if rng.random() < 0.5:  # Zhang et al. 2018
        return np.round(share * cropped + (1 - share) * second).astype(np.uint8)
    side = round(SIZE * np.sqrt(1 - share))  # Yun et al. 2019
    top, left = rng.integers(0, SIZE - side + 1, 2)
    cropped = cropped.copy()
    cropped[:, top : top + side, left : left + side] = second[:, top : top + side, left : left + side]
    return cropped


def _crop(image: Image.Image, area: tuple[float, float], rng: np.random.Generator) -> Image.Image:
    """A random part with an aspect between 3:4 and 4:3, mirrored half the time."""
    scale, aspect = rng.uniform(*area) * image.width * image.height, np.exp(rng.uniform(np.log(3 / 4), np.log(4 / 3)))
    width, height = min(np.sqrt(scale * aspect), image.width), min(np.sqrt(scale / aspect), image.height)
    left, top = rng.uniform(0, image.width - width), rng.uniform(0, image.height - height)
    part = image.convert("RGBA" if "A" in image.getbands() or "transparency" in image.info else "RGB").transform(
        (SIZE, SIZE), Image.Transform.EXTENT, (left, top, left + width, top + height), Image.Resampling.BICUBIC
    )
    return part.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if rng.random() < 0.5 else part
