"""The model's own classes, without what it says of texts without content."""

import numpy as np
from scipy.special import logsumexp

from fedbbpt.backend import BackendInfo
from fedbbpt.errors import ConfigError
from fedbbpt.readouts import log_softmax
from fedbbpt.readouts.identity import Identity
from fedbbpt.types import Float32


class ContextualCalibration(Identity):
    """Each class's probability, divided by its probability for texts without content.

    log p = log_softmax(log p(class | text) − log p̄(class)), p̄ the mean over the `probes` under the same prompt (Zhao et
    al. 2021, ICML, arXiv 2102.09690, with W = diag(p̄)⁻¹ and b = 0). The probes are asked about beside every batch, and
    counted, since a model's bias depends on the prompt. Nothing is trained.

    A model that says "bad" of any text finds this one rather good:

    >>> import numpy as np
    >>> from fedbbpt.backend import BackendInfo
    >>> info = BackendInfo("pessimist", None, ("good", "bad"), "probabilities", 64)
    >>> readout = ContextualCalibration(info, ("good", "bad"))
    >>> scores = np.array([[[[0.4, 0.6]]]], np.float32)  # (candidates, examples, prompts, classes)
    >>> probes = np.array([[[[0.1, 0.9]]] * 3], np.float32).reshape(1, 3, 1, 2)
    >>> np.exp(readout.log_probabilities(np.zeros(0), readout.calibrate(scores, probes))).round(2)
    array([[[0.86, 0.14]]])
    """

    probes = ("N/A", "", "[MASK]")  # the paper's

    def __init__(self, info: BackendInfo, classes: tuple[str, ...]) -> None:
        super().__init__(info, classes)
        if info.input_size is not None:
            raise ConfigError("readout 'contextual-calibration' asks about texts without content: it is for texts only")

    def calibrate(self, scores: Float32, probes: Float32) -> Float32:
        """Scores (n, b, V, C) given those of the probes (n, k, V, C): calibrated, and of the same kind."""
        own, theirs = (log_softmax(self.centred_log_scores(s)) for s in (scores, probes))
        calibrated = log_softmax(own - logsumexp(theirs, axis=1, keepdims=True))
        result: Float32 = (np.exp(calibrated) if self._kind == "probabilities" else calibrated).astype(np.float32)
        return result
