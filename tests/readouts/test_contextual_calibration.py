"""Contextual calibration, by hand and through the objective."""

import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from fedbbpt.backend import BackendInfo, BackendOutput
from fedbbpt.data.texts import as_texts
from fedbbpt.errors import ConfigError
from fedbbpt.objective import Objective
from fedbbpt.prompts.none import NoPrompt
from fedbbpt.readouts.contextual_calibration import ContextualCalibration
from fedbbpt.types import Batch, Usage

CLASSES = ("a", "b", "c")
LIMIT = 4


class ByText:
    """Scores that are a function of the text, in any kind."""

    def __init__(self, kind: str) -> None:
        self.info = BackendInfo("by-text", None, CLASSES, kind, LIMIT)
        self.asked: list[str] = []

    def query(self, inputs):
        self.asked.extend(inputs)
        logits = np.array([np.random.default_rng([len(text), *text.encode()]).normal(size=3) for text in inputs])
        kinds = {"logits": lambda s: s + 7, "log-probabilities": log_softmax, "probabilities": softmax}
        kind = kinds[self.info.scores]
        return BackendOutput((kind(logits) if kind is kinds["logits"] else kind(logits, axis=1)).astype(np.float32))


def logits(text):
    return np.random.default_rng([len(text), *text.encode()]).normal(size=3)


TEXTS = ["one", "two", "three", "four", "five", "six"]


@pytest.mark.parametrize("kind", ["logits", "log-probabilities", "probabilities"])
def test_each_probability_is_divided_by_what_texts_without_content_get(kind):
    backend = ByText(kind)
    readout = ContextualCalibration(backend.info, ("c", "a"))
    objective = Objective(backend.info, NoPrompt(None), readout, backend)
    batch = Batch(as_texts(TEXTS), np.zeros(6, np.int64), None)
    scores = objective.answers(np.zeros((1, 0)), batch)
    prior = np.mean([softmax(logits(text)) for text in ContextualCalibration.probes], axis=0)
    expected = [(softmax(logits(text)) / prior)[[2, 0]] for text in TEXTS]
    read = np.exp(readout.log_probabilities(np.zeros(0), scores[0]))
    np.testing.assert_allclose(read, expected / np.sum(expected, axis=1, keepdims=True), rtol=1e-5)


def test_a_text_without_content_itself_says_nothing():
    backend = ByText("logits")
    objective = Objective(backend.info, NoPrompt(None), ContextualCalibration(backend.info, CLASSES), backend)
    readout = objective.readout
    single = ContextualCalibration.probes[:1]
    readout.probes = single
    scores = objective.answers(np.zeros((1, 0)), Batch(as_texts(single), np.zeros(1, np.int64), None))
    np.testing.assert_allclose(readout.log_probabilities(np.zeros(0), scores[0]), np.log(1 / 3), atol=1e-6)


def test_the_probes_are_counted_beside_every_batch():
    backend = ByText("logits")
    objective = Objective(backend.info, NoPrompt(None), ContextualCalibration(backend.info, CLASSES), backend)
    objective.answers(np.zeros((1, 0)), Batch(as_texts(TEXTS), np.zeros(6, np.int64), None))
    queries = 6 + 3
    assert objective.usage(1, 6) == Usage(queries, -(-queries // LIMIT))
    assert len(backend.asked) == queries
    assert backend.asked.count("N/A") == 1


def test_images_are_refused():
    with pytest.raises(ConfigError, match="texts only"):
        ContextualCalibration(BackendInfo("m", (8, 8), CLASSES, "logits", 8), CLASSES)
