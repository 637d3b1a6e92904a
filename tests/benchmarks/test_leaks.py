"""All examples of all tasks: none is on two sides.

Tasks that need no download are always tested; `pytest --assets` tests those of the offline suite, too.
"""

from collections.abc import Iterator

import pytest

from fedbbpt import registry
from fedbbpt.data.texts import fingerprint
from fedbbpt.types import Dataset
from fedbbpt_benchmarks import suite
from fedbbpt_benchmarks.bench.plan import SUITES

SIZE = (64, 64)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    everything = metafunc.config.getoption("--assets")
    free = [name for name in SUITES["offline"] if name not in suite.SPECS or not suite.SPECS[name].assets]
    metafunc.parametrize("name", SUITES["offline"] if everything else free)


def seen(data: Dataset) -> Iterator[bytes]:
    """What each example looks like: pixels, or a text without its spaces and capitals."""
    texts = data.inputs.dtype == object
    return (fingerprint(content.decode()) if texts else content for content in data.contents())


def test_no_example_of_the_test_looks_like_one_for_training(name: str) -> None:
    task = registry.load("tasks", name)(None)
    size = SIZE if task.modality == "image" else None
    pool = task.load(size)
    tested, trained = set(seen(pool.test)), set(seen(pool.train))
    assert len(tested) > 10
    assert not tested & trained
    row = suite.SPECS.get(name)
    if task.provider.shots is not None and not (row and row.provider_task):
        assert not tested & set(seen(task.provider.shots(size)))
