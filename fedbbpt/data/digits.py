"""Handwritten digits of UCI (Alpaydin & Kaynak 1998) as scikit-learn carries them: 1,797 pictures of 8 × 8 pixels.

The provider's model reads MNIST digits: other writers, another scanner, another framing. CC-BY-4.0 at UCI.
"""

import math
from types import MappingProxyType

import numpy as np
from PIL import Image

from fedbbpt.backend import Modality, Provider
from fedbbpt.data import Task, TaskData, hash_split
from fedbbpt.data.images import to_array
from fedbbpt.errors import ConfigError, MissingExtra
from fedbbpt.types import Dataset, Int64, Size


class Digits(Task):
    """UCI digits against a provider that knows MNIST digits; labels skewed by client (Dirichlet α = .3)."""

    modality: Modality = "image"
    classes = tuple("0123456789")
    metadata = MappingProxyType(
        {
            "title": "handwritten digits of UCI, for a provider that knows MNIST's",
            "licence": "CC-BY-4.0",
            "citation": "Alpaydin & Kaynak 1998",
        }
    )
    provider = Provider(classes, head="mnist")

    def __init__(self, source: str | None, /) -> None:
        if source is not None:
            raise ConfigError(f"the digits tasks take nothing after their name, got ':{source}'")

    def load(self, size: Size) -> TaskData:
        """See `Task`; image i is on the side that `hash_split("digits/i")` says."""
        drawings, labels = read()
        inputs = np.stack([to_array(drawing, size) for drawing in drawings])
        everything = Dataset(inputs, labels)
        test = np.array([hash_split(f"digits/{i}") == "test" for i in range(len(everything))])
        return TaskData(everything.take(np.flatnonzero(~test)), everything.take(np.flatnonzero(test)))


class DigitsIID(Digits):
    """UCI digits against a provider that knows MNIST digits; every client alike."""

    dirichlet_alpha = math.inf


def read() -> tuple[list[Image.Image], Int64]:
    """The 1,797 drawings (8 × 8, grey) and their digits (1797,).

    Raises:
        MissingExtra: scikit-learn, which carries them, is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as e:
        raise MissingExtra("the task 'digits'", "local", e) from e
    data = load_digits()
    drawings = [Image.fromarray(np.round(image * (255 / 16)).astype(np.uint8)) for image in data.images]
    return drawings, data.target.astype(np.int64)
