"""A backend as it is served: its scores, its features, and the words for its classes."""

from functools import partial
from typing import Protocol

import numpy as np
from scipy.special import log_softmax

from fedbbpt.backend import Backend, BackendOutput, Meter, Provider
from fedbbpt.serve.batching import ModelQuery
from fedbbpt.types import Float32, Inputs, as_queried


class Tuned(Protocol):
    """What a tuned model can tell beside its answers (`fedbbpt.tuned.backend.TunedBackend`)."""

    num_prompts: int  # V

    def untuned(self, inputs: Inputs) -> BackendOutput:
        """The answers without what was tuned."""

    def prompted(self, inputs: Inputs) -> Inputs:
        """The inputs (b, …) under each of V prompts: (b, V, …)."""

    def answer(self, prompted: Inputs) -> BackendOutput:
        """The answers for prompted inputs (b, V, …)."""


class ServedModel:
    """A backend, queried for texts, or for 8-bit images (b, 3, h, w), which wait in a quarter of a float's memory.

    `query` gives scores (b, C); `features` gives rows (b, D) in their place, or is None if the model has none.
    `label_words` are the words for the C classes. Of a `tuned` model, `compare` gives rows of log-probabilities before
    and after tuning, and the prompted pictures behind them (`fedbbpt.serve.compare.Parts`).
    """

    def __init__(self, backend: Backend, provider: Provider, tuned: Tuned | None = None) -> None:
        self.info = backend.info
        self.query = ModelQuery(as_queried, Meter(backend).query)
        if tuned is not None and tuned.num_prompts == 1:  # of many prompts, one request at a time is in memory
            self.query = ModelQuery(lambda inputs: tuned.prompted(as_queried(inputs)), tuned.answer)
        self.tuned = tuned
        self.compare = None if tuned is None else ModelQuery(as_queried, partial(_compared, tuned))
        extract = backend.feature_extractor
        self.features = None if extract is None else ModelQuery(as_queried, extract)
        own = provider.label_words if provider.classes == self.info.classes else None
        self.label_words: tuple[str, ...] = backend.label_words or own or self.info.classes
        self._score_type = "log-probabilities" if backend.label_words else self.info.scores

    @property
    def reads_texts(self) -> bool:
        """Whether the inputs are texts; else they are images."""
        return self.info.input_size is None

    def log_probabilities(self, scores: Float32) -> Float32:
        """Scores (b, C) as log-probabilities; scores that are log-probabilities already keep their bits."""
        if self._score_type == "log-probabilities":
            return scores
        exact = scores.astype(np.float64)
        if self._score_type == "logits":
            return np.asarray(log_softmax(exact, axis=1), np.float32)
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(exact), np.float32)


def _compared(tuned: Tuned, inputs: Inputs) -> BackendOutput:
    prompted = tuned.prompted(inputs)
    before, after = tuned.untuned(inputs), tuned.answer(prompted)
    parts = [before.scores, after.scores]
    if inputs.dtype != object:
        parts.append(prompted[:, 0].reshape(len(inputs), -1))
    tokens, written = before.tokens + after.tokens, before.output_tokens + after.output_tokens
    return BackendOutput(np.concatenate(parts, 1), tokens, output_tokens=written)
