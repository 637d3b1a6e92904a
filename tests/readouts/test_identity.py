import numpy as np
import pytest

from fedbbpt.backend import BackendInfo
from fedbbpt.errors import ConfigError
from fedbbpt.readouts.identity import Identity


def info(*classes):
    return BackendInfo("some-model", (8, 8), classes, "probabilities", 8)


def test_views_are_averaged_as_logarithms():
    views = np.array([[0.5, 0.3, 0.2], [0.1, 0.4, 0.5]], np.float32)
    expected = np.sqrt(views[0] * views[1])[[2, 0]]
    read = Identity(info("a", "b", "c"), ("c", "a")).log_probabilities(np.zeros(0), views)
    assert np.allclose(np.exp(read), expected / expected.sum())


def test_missing_classes_are_refused_and_the_head_proposed():
    with pytest.raises(ConfigError, match="--readout linear") as e:
        Identity(info("a", "b"), ("a", "b", "c"))
    assert "some-model" in str(e.value)
    assert "'identity'" in str(e.value)


def test_long_lists_of_classes_are_cut_short():
    with pytest.raises(ConfigError, match=r"1000 classes \(0, 1, 2, 3, …\)"):
        Identity(info(*map(str, range(1000))), ("a", "b"))
