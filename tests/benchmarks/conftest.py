"""A small world for the recipe: a few pictures of each source, and nothing fetched."""

from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from fedbbpt_benchmarks.experiments.pretrain import views
from fedbbpt_benchmarks.images import ImageExample

COUNT = 8


def _pictures_of(name: str, labels: int = 2) -> list[ImageExample]:
    """Random pictures whose brightness tells their class."""
    rng = np.random.default_rng(list(name.encode()))
    noise = rng.integers(0, 100, (COUNT, 32, 32, 3), np.uint8)
    return [
        ImageExample(f"{name}/{i}", f"class {i % labels}", Image.fromarray(noise[i] + np.uint8(100 * (i % labels))))
        for i in range(COUNT)
    ]


@pytest.fixture
def pictures_of() -> Callable[[str], list[ImageExample]]:
    return _pictures_of


@pytest.fixture
def small_world(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sources of the recipe, each cut to eight pictures."""
    for name, source in views.SOURCES.items():
        crops = 2 if source.crop else 0
        small = views.Source(
            lambda name=name: _pictures_of(name),
            source.licence,
            source.assets,
            source.whole,
            crops,
            source.mix,
            source.area,
            source.labelled,
        )
        monkeypatch.setitem(views.SOURCES, name, small)
