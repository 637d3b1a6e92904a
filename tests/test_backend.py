import numpy as np
import pytest

from fedbbpt.backend import BackendOutput, Meter
from fedbbpt.errors import BackendError
from fedbbpt.types import Usage


@pytest.fixture
def images():
    return np.zeros((5, 3, 8, 8), np.float32)


@pytest.fixture
def answering(fake_backend):
    """A meter over a backend that always gives the same answer."""

    def make(scores):
        fake_backend.query = lambda inputs: BackendOutput(scores)
        return Meter(fake_backend)

    return make


def test_meter_counts_inputs_and_calls(fake_backend, images):
    meter = Meter(fake_backend)
    assert meter.usage == Usage(0, 0)
    meter.query(images)
    meter.query(images[:2])
    assert meter.usage == Usage(7, 2)


def test_meter_counts_the_tokens_of_the_answers_and_those_that_name_no_class(fake_backend, images):
    answers = fake_backend.query(images)
    fake_backend.query = lambda inputs: BackendOutput(answers.scores, 11, 2)
    meter = Meter(fake_backend)
    meter.query(images)
    meter.query(images)
    assert meter.usage == Usage(10, 2, 22, 4)


def test_meter_passes_answers_and_info_on(fake_backend, images):
    meter = Meter(fake_backend)
    assert meter.info is fake_backend.info
    assert np.array_equal(meter.query(images).scores, fake_backend.query(images).scores)


def test_meters_count_for_themselves(fake_backend, images):
    one, other = Meter(fake_backend), Meter(fake_backend)
    one.query(images)
    assert other.usage == Usage(0, 0)


@pytest.mark.parametrize("shape", [(4, 3), (6, 3), (5, 2), (5, 4), (5,), (15,), (5, 3, 1)])
def test_wrong_shape_of_scores_is_refused(answering, images, shape):
    with pytest.raises(BackendError, match=r"\(5, 3\)"):
        answering(np.zeros(shape, np.float32)).query(images)


@pytest.mark.parametrize("dtype", [np.float64, np.float16, np.int64, object])
def test_wrong_type_of_scores_is_refused(answering, images, dtype):
    with pytest.raises(BackendError, match="float32"):
        answering(np.zeros((5, 3), dtype)).query(images)


def test_refused_answers_are_counted_too(answering, images):
    meter = answering(np.zeros((5, 2), np.float32))
    with pytest.raises(BackendError):
        meter.query(images)
    assert meter.usage == Usage(5, 1)


def test_failed_queries_are_answers_and_counted(answering, images):
    scores = np.zeros((5, 3), np.float32)
    scores[1:3] = np.nan
    meter = answering(scores)
    assert np.isnan(meter.query(images).scores).any(1).tolist() == [False, True, True, False, False]
    assert meter.usage == Usage(5, 1, unanswered=2)


def test_errors_of_the_backend_pass_through(fake_backend, images):
    def broken(inputs):
        raise ConnectionError("gone")

    fake_backend.query = broken
    with pytest.raises(ConnectionError, match="gone"):
        Meter(fake_backend).query(images)
