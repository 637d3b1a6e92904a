"""The only place that queries: candidates × prompts × examples in as few requests as the backend's limit allows."""

from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedbbpt.backend import Backend, BackendInfo, usage
from fedbbpt.data.texts import as_texts
from fedbbpt.prompts import Prompt
from fedbbpt.readouts import Readout, cross_entropy
from fedbbpt.types import Batch, Dataset, Float32, Floats, Inputs, Int64, Usage


@dataclass(frozen=True)
class PromptedModel:
    """What server and clients know of a model: what its answers look like, the prompt and the readout. Asks nothing.

    θ holds the parameters of one prompt (d,), or those of V prompts one behind the other (V·d,): each example is then
    asked about once under each of them.
    """

    info: BackendInfo
    prompt: Prompt
    readout: Readout

    def on(self, backend: Backend) -> "Objective":
        """The same over a model that can be asked."""
        return Objective(backend.info, self.prompt, self.readout, backend)

    def split_prompts(self, theta: Floats) -> Floats:
        """The parameters of the single prompts: θ (…, V·d) -> (…, V, d)."""
        d = self.prompt.dim
        return theta.reshape(*theta.shape[:-1], -1, d) if d else theta[..., None, :]

    @property
    def probes(self) -> tuple[str, ...]:
        """Texts without content that the readout wants asked beside every batch, under the same prompts."""
        return self.readout.probes

    @property
    def probe_data(self) -> Dataset:
        """The probes as a data set; their labels say nothing."""
        return Dataset(as_texts(self.probes), np.zeros(len(self.probes), np.int64))

    def calibrated(self, scores: Float32, probed: Float32) -> Float32:
        """Scores (n, b, V, C) as the readout reads them beside those of its probes (n, k, V, C)."""
        return self.readout.calibrate(scores, probed)

    def usage(self, prompts: int, examples: int) -> Usage:
        """Exactly what `Objective.answers` will ask for with so many prompts (candidates × V), without asking."""
        return usage(prompts * (examples + len(self.probes)), self.info)

    def losses(self, weights: Floats, scores: Float32, labels: Int64) -> NDArray[np.float64]:
        """Mean cross-entropy (n,) of answers (n, b, V, C); NaN for a candidate with no answer at all.

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


@dataclass(frozen=True)
class Objective(PromptedModel):
    """What a client minimises over θ: `losses(weights, answers(candidates, batch), labels)`."""

    backend: Backend

    def answers(self, candidates: Floats, batch: Batch) -> Float32:
        """Scores (n, b, V, C) of every example under every candidate (n, V·d).

        Where the readout has probes, these are the scores as it reads them beside the probes'.
        """
        if not self.probes:
            return self._asked(candidates, batch)
        probed = batch._replace(
            inputs=np.concatenate([batch.inputs, as_texts(self.probes)]),
            labels=np.concatenate([batch.labels, np.zeros(len(self.probes), np.int64)]),
        )
        scores, beside = np.split(self._asked(candidates, probed), [len(batch.labels)], axis=1)
        return self.calibrated(scores, beside)

    def unprompted_scores(self, data: Dataset) -> Float32:
        """Scores (N, C) of inputs as they are, without the prompt, a request of `max_batch` at a time."""
        scores = np.empty((len(data), len(self.info.classes)), np.float32)
        for start in range(0, len(data), self.info.max_batch):
            rows = slice(start, start + self.info.max_batch)
            scores[rows] = self.backend.query(data.batch(rows).inputs).scores
        return scores

    def _asked(self, candidates: Floats, batch: Batch) -> Float32:
        views = self.split_prompts(candidates)  # (n, V, d)
        n, v, _ = views.shape
        prompts, b = views.reshape(n * v, -1), len(batch.labels)
        scores = np.empty((n * v * b, len(self.info.classes)), np.float32)

        def drawn(pairs: slice) -> Inputs:
            pieces = []
            for rows, columns in _pieces(pairs, b):
                features = None if batch.features is None else batch.features[columns]
                pieces.append(self.prompt.apply(prompts[rows], batch.inputs[columns], features))
            return np.concatenate(pieces) if len(pieces) > 1 else pieces[0]

        limit = self.info.max_batch
        calls = [slice(start, min(start + limit, len(scores))) for start in range(0, len(scores), limit)]
        with ThreadPoolExecutor(1) as ahead:  # draws the next call's inputs while the model answers this one
            waiting = [ahead.submit(copy_context().run, drawn, call) for call in calls[:1]]
            for call, following in zip(calls, [*calls[1:], None], strict=True):
                inputs = waiting.pop().result()
                if following is not None:
                    waiting.append(ahead.submit(copy_context().run, drawn, following))
                scores[call] = self.backend.query(inputs).scores
        return scores.reshape(n, v, b, -1).swapaxes(1, 2)


def _pieces(pairs: slice, b: int) -> list[tuple[slice, slice]]:
    """Some of all (prompt, example) pairs, prompt by prompt, as rectangles: prompts × examples."""
    (row, column), (last, end) = divmod(pairs.start, b), divmod(pairs.stop, b)
    if row == last:
        return [(slice(row, row + 1), slice(column, end))]
    pieces = []
    if column:
        pieces.append((slice(row, row + 1), slice(column, b)))
        row += 1
    if row < last:
        pieces.append((slice(row, last), slice(0, b)))
    if end:
        pieces.append((slice(last, last + 1), slice(0, end)))
    return pieces
