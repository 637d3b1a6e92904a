import numpy as np
import pytest

from fedbbpt.split_learning.transport import BodyRunner, ClippedNoisyTransport, InProcessTransport
from fedbbpt.types import Traffic, Usage


class Recorded:
    """A transport that keeps its input and passes it on."""

    traffic, usage = Traffic(3, 4), Usage(1, 1)

    def forward(self, values):
        self.values = values
        return values

    def backward(self, gradients):
        return gradients


def test_samples_are_clipped_and_their_gradients_scaled():
    inner, rng = Recorded(), np.random.default_rng(0)
    values = rng.normal(size=(4, 5, 6)).astype(np.float32) * np.array([0.01, 1, 10, 100], np.float32)[:, None, None]
    transport = ClippedNoisyTransport(inner, 3.0, 0.0, rng)
    transport.forward(values)
    norms, before = (np.sqrt((a.astype(np.float64) ** 2).sum((1, 2))) for a in (inner.values, values))
    assert norms == pytest.approx(np.minimum(before, 3.0), rel=1e-6)
    np.testing.assert_array_equal(inner.values[0], values[0])
    back = transport.backward(np.ones_like(values))
    assert back[:, 0, 0] == pytest.approx(np.minimum(1, 3 / before), rel=1e-6)
    assert (transport.traffic, transport.usage) == (inner.traffic, inner.usage)


def test_noise_is_in_units_of_the_norm():
    inner, values = Recorded(), np.zeros((50, 20, 20), np.float32)
    ClippedNoisyTransport(inner, 3.0, 0.5, np.random.default_rng(0)).forward(values)
    assert inner.values.std() == pytest.approx(1.5, rel=0.02)
    assert inner.values.dtype == np.float32


def test_a_transport_needs_values_before_gradients(make_split):
    server = BodyRunner(make_split(0, 3, 6, []), np.zeros(36, np.float32), frozenset({"body"}), 0.1)
    with pytest.raises(RuntimeError, match="never went forward"):
        InProcessTransport(server).backward(np.zeros((1, 4, 6), np.float32))
