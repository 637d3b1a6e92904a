"""The model's own classes, without what it says of a text that says nothing."""

import numpy as np
from scipy.special import logsumexp

from fedbbpt.backend import BackendInfo
from fedbbpt.errors import ConfigError
from fedbbpt.readouts import normalised
from fedbbpt.readouts.identity import Identity
from fedbbpt.types import Float32


class Contextual(Identity):
    """Contextual calibration: each class's probability over that which texts without content get.

    log p = log_softmax(log p(class | text) − log p̄(class)), p̄ the mean over the `probes` under the same prompt (Zhao et
    al. 2021, ICML, arXiv 2102.09690, with W = diag(p̄)⁻¹ and b = 0). The probes are asked beside every batch, and
    counted: what a model prefers of itself depends on the prompt. Nothing is trained.
    """

    probes = ("N/A", "", "[MASK]")  # the paper's

    def __init__(self, info: BackendInfo, classes: tuple[str, ...]) -> None:
        super().__init__(info, classes)
        self._probabilities = info.scores == "probabilities"
        if info.input_size is not None:
            raise ConfigError("readout 'contextual' asks about texts without content: it goes with texts only")

    def calibrate(self, scores: Float32, probes: Float32) -> Float32:
        """Scores (n, b, V, C) beside those of the probes (n, k, V, C): the calibrated ones, of the same kind."""
        ours, theirs = (normalised(self._scores.centred(s)) for s in (scores, probes))
        calibrated = normalised(ours - logsumexp(theirs, axis=1, keepdims=True))
        result: Float32 = (np.exp(calibrated) if self._probabilities else calibrated).astype(np.float32)
        return result
