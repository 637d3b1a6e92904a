"""A small world for the recipe: a few pictures of each source, and nothing fetched; and the rows of a bench."""

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


BENCH_TASKS = ("digits", "shapes", "stripes", "letters", "serifs", "mnist")


def _row(task: str, method: str, seed: int, accuracy: float) -> dict[str, object]:
    return {
        **{"task": task, "method": method, "seed": seed, "accuracy": accuracy, "error": None},
        **{"macro_f1": accuracy / 2, "majority": 0.1, "test_examples": 100, "queries": 1000 * seed, "requests": 10},
        **{
            "tokens": 2500.0 * seed,
            "exchanges": 20 * seed,
            "bytes_up": 300 * seed,
            "bytes_down": 700 * seed,
            "folder": f"{task}/{method}/seed-{seed}",
            "versions": {"fedbbpt": "1", "torch": None},
        },
    }


@pytest.fixture
def bench_row() -> Callable[..., dict[str, object]]:
    """`bench_row(task, method, seed, accuracy)`: the row of a finished cell."""
    return _row


@pytest.fixture
def bench_gains() -> tuple[float, ...]:
    """How much better `head` is than `zero-shot` in `bench_rows`, by task."""
    return (0.1, 0.2, 0.3, -0.05, 0.0, 0.4)


@pytest.fixture
def bench_rows(bench_gains: tuple[float, ...]) -> list[dict[str, object]]:
    """The rows of six tasks, two methods and two seeds."""
    zero = [_row(task, "zero-shot", seed, 0.5) for task in BENCH_TASKS for seed in (1, 2)]
    head = [
        _row(task, "head", seed, 0.5 + gain + 0.01 * (2 * seed - 3))
        for task, gain in zip(BENCH_TASKS, bench_gains, strict=True)
        for seed in (1, 2)
    ]
    return zero + head
