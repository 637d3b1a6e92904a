"""A backend, and all that it takes to speak for it."""

import numpy as np
from scipy.special import log_softmax

from fedbbpt.backend import Backend, Meter, Provider
from fedbbpt.serve.batching import Ask
from fedbbpt.types import Float32


class ServedModel:
    """What is asked of a backend, and what its classes are called in words.

    `features` are the rows (b, D) of a model that has some, in the place of scores. Both are asked about texts, or
    about images (b, 3, h, w) of 8 bits.
    """

    def __init__(self, backend: Backend, provider: Provider) -> None:
        self.info = backend.info
        self.query = self._asked(Meter(backend).query)
        self.features = backend.feature_extractor and self._asked(backend.feature_extractor)
        own = provider.words if provider.classes == self.info.classes else None
        self.words: tuple[str, ...] = backend.label_words or own or self.info.classes
        self._kind = "log-probabilities" if backend.label_words else self.info.scores

    def _asked(self, ask: Ask) -> Ask:
        """Of images, 8-bit ones are taken, since many may have to wait."""
        return ask if self.reads_texts else lambda images: ask(images.astype(np.float32) / np.float32(255))

    @property
    def reads_texts(self) -> bool:
        """Whether its inputs are texts; else they are images."""
        return self.info.input_size is None

    def log_probabilities(self, scores: Float32) -> Float32:
        """Scores (b, C) as log-probabilities: bit for bit as they are, where they are some, or those of words."""
        if self._kind == "log-probabilities":
            return scores
        exact = scores.astype(np.float64)
        if self._kind == "logits":
            return np.asarray(log_softmax(exact, axis=1), np.float32)
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(exact), np.float32)
