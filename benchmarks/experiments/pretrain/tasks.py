"""The image tasks of the model card, each with a training and a test side that share no key."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from fedbbpt.data import digits
from fedbbpt_benchmarks import images
from fedbbpt_benchmarks.images import ImageExample


class Sides(NamedTuple):
    """Examples to fit a reading to, and examples to score it on."""

    train: list[ImageExample]
    test: list[ImageExample]


@dataclass(frozen=True)
class CardTask:
    """One row of the card; `seen` says what the student's training had to do with it."""

    title: str
    seen: str
    read: Callable[[], Sides]
    limit: int = 300  # examples of each side


def _split_by_key(read: Callable[[], Iterable[ImageExample]], least: int = 0) -> Callable[[], Sides]:
    """Split by key; of the classes with at least `least` pictures on either side."""

    def sides() -> Sides:
        everything = list(read())
        counts = Counter((picture.label, picture.for_test) for picture in everything)
        frequent = [p for p in everything if min(counts[p.label, False], counts[p.label, True]) >= least]
        return Sides([p for p in frequent if not p.for_test], [p for p in frequent if p.for_test])

    return sides


def _unseen_cifar10() -> Sides:
    everything, (_, unseen) = list(images.cifar10()), images.cifar10_split()
    return Sides([everything[i] for i in unseen[:1000]], [everything[i] for i in unseen[1000:]])


def _mnist() -> Sides:
    return Sides(list(images.mnist("train", 8000)), list(images.mnist("test", 10_000)))


def _uci_digits() -> list[ImageExample]:
    return [
        ImageExample(f"digits/{i}", str(digit), drawing)
        for i, (drawing, digit) in enumerate(zip(*digits.read(), strict=True))
    ]


TRAINED, OTHER, NEVER = "training side", "other drawings", "unseen domain"
TASKS = {
    "cifar10": CardTask("CIFAR-10, the unseen half", "other images", _unseen_cifar10, limit=1000),
    "mnist": CardTask("MNIST", TRAINED, _mnist),
    "emoji-twitter": CardTask("emoji category, Twitter", TRAINED, _split_by_key(lambda: images.emoji("twitter"))),
    "emoji-google": CardTask("emoji category, Google", TRAINED, _split_by_key(lambda: images.emoji("google"))),
    "emoji-fluent": CardTask("emoji category, Fluent", TRAINED, _split_by_key(lambda: images.emoji("fluent"))),
    "openclipart": CardTask("clip-art folder", TRAINED, _split_by_key(lambda: images.clipart(), least=40)),
    "scripts": CardTask("script of a letter", TRAINED, _split_by_key(lambda: images.scripts(), least=20)),
    "emoji-tones": CardTask("emoji skin tone, Twitter", OTHER, _split_by_key(lambda: images.emoji_tones("twitter"))),
    "digits": CardTask("UCI digits", NEVER, _split_by_key(_uci_digits)),
    "textile": CardTask("faults in textiles", NEVER, _split_by_key(lambda: images.textile())),
    "textures": CardTask("brick, grass, gravel", NEVER, _split_by_key(lambda: images.textures())),
    "wesnoth-races": CardTask("Wesnoth races", NEVER, _split_by_key(lambda: images.wesnoth_races(), least=20)),
    "wesnoth-terrain": CardTask("Wesnoth terrain", NEVER, _split_by_key(lambda: images.wesnoth_terrain(), least=20)),
    "faenza": CardTask("Faenza icon context", NEVER, _split_by_key(lambda: images.faenza(), least=15)),
}
