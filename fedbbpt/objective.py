"""The only place that queries: candidates × examples in as few calls as the backend's batch limit allows."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedbbpt.backend import Backend
from fedbbpt.prompts import Prompt
from fedbbpt.readout import Readout, cross_entropy
from fedbbpt.types import Batch, Float32, Floats, Int64, Usage


class Objective(NamedTuple):
    """What a client minimises over θ: `losses(answers(candidates, batch))`."""

    backend: Backend
    prompt: Prompt
    readout: Readout

    def answers(self, candidates: Floats, batch: Batch) -> Float32:
        """Scores (n, b, C) of every example under every candidate (n, d)."""
        n, b = len(candidates), len(batch.labels)
        scores = np.empty((n, b, len(self.backend.info.classes)), np.float32)
        for rows, columns in _pieces(n, b, self.backend.info.batch_limit):
            features = None if batch.features is None else batch.features[columns]
            inputs = self.prompt.apply(candidates[rows], batch.inputs[columns], features)
            piece = scores[rows, columns]
            piece[...] = self.backend.query(inputs).scores.reshape(piece.shape)
        return scores

    def losses(self, weights: Floats, scores: Float32, labels: Int64) -> NDArray[np.float64]:
        """Mean cross-entropy (n,) of answers (n, b, C); NaN for a candidate with no answer at all.

        Where single queries failed, all candidates are compared on the examples that every one of them answered.
        """
        losses = cross_entropy(self.readout.log_probabilities(weights, scores), labels)  # (n, b)
        answered = ~np.isnan(losses)
        some = answered.any(1)
        common = answered[some].all(0)
        result = np.full(len(losses), np.nan)
        if common.any():
            result[some] = losses[some][:, common].mean(1)
        return result


def usage(candidates: int, examples: int, batch_limit: int) -> Usage:
    """Exactly what `Objective.answers` will ask for, without asking."""
    return Usage(candidates * examples, len(_pieces(candidates, examples, batch_limit)))


def _pieces(n: int, b: int, limit: int) -> list[tuple[slice, slice]]:
    """Cuts n × b into rectangles of at most `limit`: several whole candidates, or a part of one."""
    if b == 0:
        return []
    if b > limit:
        return [(slice(i, i + 1), slice(j, min(j + limit, b))) for i in range(n) for j in range(0, b, limit)]
    step = limit // b
    return [(slice(i, min(i + step, n)), slice(0, b)) for i in range(0, n, step)]
