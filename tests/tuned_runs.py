"""Two runs on models that answer at once: one of pictures, one of texts."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import fedbbpt
from fedbbpt import registry
from fedbbpt.backend import Backend, BackendInfo, BackendOutput


class Colours(Backend):
    """Knows red from green from blue; leaves a black picture without an answer."""

    modalities = ("image",)

    def __init__(self, provider, /, *, strength: float = 4.0):
        self.info = BackendInfo("colours", (8, 8), ("blue", "green", "red"), "logits", 16)
        self._strength = strength

    def query(self, inputs):
        scores = (self._strength * inputs.mean((2, 3))[:, ::-1]).astype(np.float32)
        scores[inputs.max((1, 2, 3)) == 0] = np.nan
        return BackendOutput(scores, tokens=len(inputs))


class Reader(Backend):
    """Knows "fine" from "dull"."""

    modalities = ("text",)

    def __init__(self, provider, /):
        self.info = BackendInfo("reader", None, ("dull", "fine"), "logits", 16)

    def query(self, inputs):
        said = [text.split() for text in inputs]
        return BackendOutput(np.array([[text.count("dull"), text.count("fine")] for text in said], np.float32))


@contextmanager
def registered() -> Iterator[None]:
    """Both models, by name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(registry._registered, ("backends", "colours"), Colours)
        patch.setitem(registry._registered, ("backends", "reader"), Reader)
        yield


@pytest.fixture
def backends() -> Iterator[None]:
    """Both models, by name, during a test."""
    with registered():
        yield


def coloured(channel: int, seed: int) -> Image.Image:
    """A noisy picture of one colour."""
    pixels = np.random.default_rng(seed).integers(0, 90, (12, 12, 3))
    pixels[..., channel] += 90
    return Image.fromarray(pixels.astype(np.uint8))


@pytest.fixture(scope="session")
def pictures() -> tuple[list[Image.Image], list[str]]:
    """Ninety pictures, and the names of their colours."""
    channels = [i % 3 for i in range(90)]
    return [coloured(c, i) for i, c in enumerate(channels)], [("red", "green", "blue")[c] for c in channels]


@pytest.fixture(scope="session")
def image_run(pictures, tmp_path_factory) -> Path:
    """The folder of a run on the pictures, with an untrained prompt's neighbour: one round."""
    images, labels = pictures
    out = tmp_path_factory.mktemp("tuned") / "images"
    settings = {"prompt": "affine", "data": {"shots_per_class": 8}}
    with registered():
        return fedbbpt.train(
            images=images, labels=labels, backend="colours", clients=3, rounds=2, out=out, progress=False, **settings
        ).folder


@pytest.fixture(scope="session")
def text_run(tmp_path_factory) -> Path:
    """The folder of a run on a table whose texts are in the column `review`."""
    folder = tmp_path_factory.mktemp("texts")
    table = folder / "reviews.csv"
    moods = ["dull", "fine"] * 60
    table.write_text("review,mood\n" + "".join(f"a {mood} film no {i},{mood}\n" for i, mood in enumerate(moods)))
    columns = {"text_column": "review", "label_column": "mood", "provider_shots_per_class": 2}
    task = {"name": f"csv:{table}"} | columns
    with registered():
        return fedbbpt.train(task, backend="reader", clients=3, rounds=1, out=folder / "run", progress=False).folder
