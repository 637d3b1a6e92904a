"""What many tests need: a model that is plain arithmetic, and a few coloured pictures for it."""

from collections.abc import Callable

import numpy as np
import pytest

from fedbbpt.backend import Answers, BackendInfo
from fedbbpt.types import Client, Dataset

CLASSES = ("red", "green", "blue")
SIZE = (8, 8)


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--assets`: also what needs the public data sets (1.5 GB, fetched into the cache)."""
    parser.addoption("--assets", action="store_true", help="also test the public data sets, fetched on first use")


class FakeBackend:
    """Scores linear in the mean colour of an image's quarters. Every image is answered by itself.

    `fails` says which images of (b, 3, h, w) get no answer; `calls` keeps the sizes of all calls, `seen` their inputs.
    """

    def __init__(self, *, classes=CLASSES, scores="logits", batch_limit=16, fails: Callable | None = None):
        self.info = BackendInfo("fake", SIZE, tuple(classes), scores, batch_limit)
        self.calls, self.seen = [], []
        self._fails = fails
        self._weights = np.random.default_rng(7).normal(size=(12, len(classes)))
        for i in range(len(classes)):
            self._weights[4 * (i % 3) : 4 * (i % 3) + 4, i] += 1  # class i likes colour i

    def query(self, inputs):
        assert inputs.dtype == np.float32
        assert inputs.shape[1:] == (3, *SIZE)
        assert 0 < len(inputs) <= self.info.batch_limit
        self.calls.append(len(inputs))
        self.seen.extend(image.tobytes() for image in inputs)
        quarters = inputs.astype(np.float64).reshape(-1, 3, 2, 4, 2, 4).mean((3, 5)).reshape(-1, 12)
        scores = (quarters[:, :, None] * self._weights).sum(1).astype(np.float32)
        if self._fails is not None:
            scores[self._fails(inputs)] = np.nan
        return Answers(scores)


def _data(count, seed=0):
    """Pictures of one dull colour each, with noise; the label is the colour."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, len(CLASSES), count)
    inputs = rng.integers(0, 120, (count, 3, *SIZE))
    inputs[np.arange(count), labels] += 60
    return Dataset(inputs.astype(np.uint8), labels.astype(np.int64))


def _client(name="client-000", train=7, seed=0):
    return Client(name, _data(train, 3 * seed), _data(5, 3 * seed + 1), _data(9, 3 * seed + 2))


@pytest.fixture
def make_backend():
    """The class of the fake backend."""
    return FakeBackend


@pytest.fixture
def fake_backend():
    """A backend of three classes for pictures of 8 × 8 pixels, at most 16 a call."""
    return FakeBackend()


@pytest.fixture
def make_data():
    """`make_data(count, seed)`: a data set for the fake backend."""
    return _data


@pytest.fixture
def make_client():
    """`make_client(name, train, seed)`: a client with `train` training, 5 validation and 9 test examples."""
    return _client


@pytest.fixture
def clients():
    """Three clients with 4, 7 and 12 training examples."""
    return [_client(f"client-{i:03d}", train, i) for i, train in enumerate((4, 7, 12))]
