"""Handwritten digits of UCI (Alpaydin & Kaynak 1998) from scikit-learn: 1,797 images of 8 × 8 pixels, CC-BY-4.0.

The provider's head was fitted to MNIST digits: other writers, another scanner, another framing.
"""

import math
from types import MappingProxyType

import numpy as np
from PIL import Image

from fedbbpt.backend import Modality, Provider
from fedbbpt.data import Task, TaskData, TaskFacts, hash_split
from fedbbpt.data.images import to_array
from fedbbpt.errors import ConfigError, MissingExtra
from fedbbpt.types import Dataset, Int64, Size

SIDES = [hash_split(f"digits/{i}") for i in range(1797)]


class Digits(Task):
    """UCI digits, for a provider with a head for MNIST digits; labels skewed by client (Dirichlet α = .3)."""

    modality: Modality = "image"
    classes = tuple("0123456789")
    metadata = MappingProxyType(
        {
            "title": "handwritten digits of UCI, for a provider with a head for MNIST",
            "licence": "CC-BY-4.0",
            "citation": "Alpaydin & Kaynak 1998",
        }
    )
    provider = Provider(classes, head="mnist")
    extra = "local"

    def __init__(self, source: str | None, /) -> None:
        if source is not None:
            raise ConfigError(f"the digits tasks take nothing after their name, got ':{source}'")

    @classmethod
    def facts(cls) -> TaskFacts:
        """See `Task`."""
        return super().facts()._replace(train=SIDES.count("train"), test=SIDES.count("test"))

    def load(self, size: Size) -> TaskData:
        """See `Task`; image i is on the side `SIDES[i]`."""
        digits, labels = read()
        inputs = np.stack([to_array(digit, size) for digit in digits])
        everything = Dataset(inputs, labels)
        test = np.array([side == "test" for side in SIDES])
        return TaskData(everything.take(np.flatnonzero(~test)), everything.take(np.flatnonzero(test)))


class DigitsIID(Digits):
    """UCI digits, for a provider with a head for MNIST digits; all clients alike."""

    dirichlet_alpha = math.inf


def read() -> tuple[list[Image.Image], Int64]:
    """The 1,797 grey images (8 × 8) and their digits (1797,).

    Raises:
        MissingExtra: scikit-learn, which contains them, is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as e:
        raise MissingExtra("the task 'digits'", "local", e) from e
    data = load_digits()
    digits = [Image.fromarray(np.round(image * (255 / 16)).astype(np.uint8)) for image in data.images]
    return digits, data.target.astype(np.int64)
