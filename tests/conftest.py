"""What many tests need: order in a test run, a model that is plain arithmetic, and a few coloured pictures for it."""

import os
import signal
import subprocess
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests run side by side: their threads would wait for each other

import numpy as np
import pytest

from fedbbpt.backend import Backend, BackendInfo, BackendOutput
from fedbbpt.types import Client, Dataset

CLASSES = ("red", "green", "blue")
SIZE = (8, 8)
MARK = "FEDBBPT_TEST_RUN"  # in the environment of every process that a test starts, and of those that it starts
LONGEST_NAME = 60  # characters of a value
DEPRECATIONS = (DeprecationWarning, PendingDeprecationWarning, FutureWarning)

_deprecations: set[str] = set()


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--assets` and `--deprecations-to`."""
    parser.addoption("--assets", action="store_true", help="also test the public data sets, fetched on first use")
    parser.addoption("--deprecations-to", type=Path, metavar="FILE", help="write a line for each deprecation")


def pytest_configure(config: pytest.Config) -> None:
    """Programs that tests start can be interrupted and found, also where a shell runs the tests in the background."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # children inherit an ignored signal, a handled one not
    os.environ[MARK] = str(os.getpid())
    leave = subprocess.Popen.__exit__

    def end_and_leave(process: "subprocess.Popen[Any]", kind: Any, *about: Any) -> None:
        if kind is not None:
            process.kill()  # a failed test does not wait for a program that nobody ends
        leave(process, kind, *about)

    subprocess.Popen.__exit__ = end_and_leave  # type: ignore[method-assign]


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Short names of tests, the same in all processes: bytes may hold the time at which they were packed."""
    if isinstance(val, bytes):
        return argname
    return val[:LONGEST_NAME].encode("unicode_escape").decode() if isinstance(val, str) else None


def pytest_warning_recorded(warning_message: warnings.WarningMessage, nodeid: str) -> None:
    """Keeps deprecations, wherever they are attributed to."""
    if issubclass(warning_message.category, DEPRECATIONS):
        _deprecations.add(f"{nodeid}: {warning_message.category.__name__}: {warning_message.message}")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Writes the list of deprecations, where one was asked for; tests that run side by side send theirs here."""
    file = session.config.getoption("deprecations_to")
    if file is not None and not hasattr(session.config, "workerinput"):
        file.write_text("".join(f"{line}\n" for line in sorted(_deprecations)))


@pytest.fixture(scope="session", autouse=True)
def nothing_left() -> Iterator[None]:
    """Ends what tests left running, and fails for it; the first to be set up, and so the last to be torn down."""
    yield
    left = _left()
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert not left, f"tests left processes behind: {'; '.join(left.values())}"


def _left() -> dict[int, str]:
    """Processes of this test run, by pid; empty where there is no /proc."""
    mark = f"{MARK}={os.getpid()}".encode()
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            ours = mark in (folder / "environ").read_bytes().split(b"\0")
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:  # it ended meanwhile, or is somebody else's
            continue
        waits = not command or "resource_tracker" in command  # ended, and nobody asked for it; Python's own helper
        if ours and not waits and int(folder.name) != os.getpid():
            found[int(folder.name)] = command
    return found


class FakeBackend(Backend):
    """Scores linear in the mean colour of an image's quarters. Every image is answered by itself.

    `fails` says which images of (b, 3, h, w) get no answer; `calls` keeps the sizes of all calls, `seen` their inputs.
    """

    def __init__(self, *, classes=CLASSES, scores="logits", max_batch=16, fails: Callable | None = None):
        self.info = BackendInfo("fake", SIZE, tuple(classes), scores, max_batch)
        self.calls, self.seen = [], []
        self._fails = fails
        self._weights = np.random.default_rng(7).normal(size=(12, len(classes)))
        for i in range(len(classes)):
            self._weights[4 * (i % 3) : 4 * (i % 3) + 4, i] += 1  # class i likes colour i

    def query(self, inputs):
        assert inputs.dtype == np.float32
        assert inputs.shape[1:] == (3, *SIZE)
        assert 0 < len(inputs) <= self.info.max_batch
        self.calls.append(len(inputs))
        self.seen.extend(image.tobytes() for image in inputs)
        quarters = inputs.astype(np.float64).reshape(-1, 3, 2, 4, 2, 4).mean((3, 5)).reshape(-1, 12)
        scores = (quarters[:, :, None] * self._weights).sum(1).astype(np.float32)
        if self._fails is not None:
            scores[self._fails(inputs)] = np.nan
        return BackendOutput(scores)


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


@pytest.fixture
def same():
    """`same(a, b)`: whether two sets of parameters have the same bits."""

    def compare(a, b):
        assert a.keys() == b.keys()
        return all(a[part].dtype == b[part].dtype and a[part].tobytes() == b[part].tobytes() for part in a)

    return compare
