"""Queries the model: candidates × prompts × examples in as few requests as the backend's limit allows."""

from collections.abc import Callable, Iterator, Sequence
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
    """A model's properties, the prompt and the readout: all that server and clients share. It makes no queries.

    θ holds the parameters of one prompt (d,), or those of V prompts, concatenated (V·d,). Each example is then queried
    once under each prompt.
    """

    info: BackendInfo
    prompt: Prompt
    readout: Readout

    def on(self, backend: Backend) -> "Objective":
        """The objective that queries this backend."""
        return Objective(backend.info, self.prompt, self.readout, backend)

    def split_prompts(self, theta: Floats) -> Floats:
        """Splits θ into the parameters of single prompts: (…, V·d) -> (…, V, d)."""
        d = self.prompt.dim
        return theta.reshape(*theta.shape[:-1], -1, d) if d else theta[..., None, :]

    @property
    def probes(self) -> tuple[str, ...]:
        """Content-free texts that are queried with every batch under the same prompts, for the readout."""
        return self.readout.probes

    @property
    def probe_data(self) -> Dataset:
        """The probes as a data set, with labels of zero."""
        return Dataset(as_texts(self.probes), np.zeros(len(self.probes), np.int64))

    def calibrated(self, scores: Float32, probed: Float32) -> Float32:
        """Calibrates scores (n, b, V, C) with those of the probes (n, k, V, C)."""
        return self.readout.calibrate(scores, probed)

    def prompted(self, theta: Floats, inputs: Inputs) -> Inputs:
        """Inputs (b, …) under each of the prompts of one candidate (V·d,): (b, V, …)."""
        prompts = self.split_prompts(theta)
        every = self.prompt.apply(prompts, inputs, self.prompt.features(inputs))  # (V·b, …)
        return every.reshape(len(prompts), len(inputs), *every.shape[1:]).swapaxes(0, 1)

    def usage(self, prompts: int, examples: int) -> Usage:
        """The exact usage of `Objective.answers` with this number of prompts (candidates × V) and examples."""
        return usage(prompts * (examples + len(self.probes)), self.info)

    def losses(self, weights: Floats, scores: Float32, labels: Int64) -> NDArray[np.float64]:
        """The mean cross-entropy (n,), in nats, of scores (n, b, V, C); NaN for candidates whose queries all failed.

        If some queries failed, all other candidates are compared on the examples that have scores under each of them.
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
    """What a client minimises over θ: `losses(weights, answers(candidates, batch), labels)`.

    Attributes:
        backend: the model that is queried.
    """

    backend: Backend

    def answers(self, candidates: Floats, batch: Batch) -> Float32:
        """Queries every example under every candidate (n, V·d); returns scores (n, b, V, C).

        If the readout has probes, they are queried, too, and the scores are calibrated with theirs.
        """
        if not self.probes:
            return self._scores(candidates, batch)
        probed = batch._replace(
            inputs=np.concatenate([batch.inputs, as_texts(self.probes)]),
            labels=np.concatenate([batch.labels, np.zeros(len(self.probes), np.int64)]),
        )
        return self._calibrated_with_last(self._scores(candidates, probed), len(batch.labels))

    def answers_to(self, theta: Floats, prompted: Inputs) -> Float32:
        """As `answers` for one candidate (V·d,), whose prompts are on the inputs (b, V, …) already: (b, V, C)."""
        if not self.probes:
            return self._scores_of(prompted)
        probes = self.prompted(theta, as_texts(self.probes))
        every = self._scores_of(np.concatenate([prompted, probes]))
        scores: Float32 = self._calibrated_with_last(every[None], len(prompted))[0]
        return scores

    def unprompted_scores(self, data: Dataset) -> Float32:
        """Queries the inputs without a prompt, `max_batch` at a time; returns scores (N, C)."""
        scores = np.empty((len(data), len(self.info.classes)), np.float32)
        for start in range(0, len(data), self.info.max_batch):
            rows = slice(start, start + self.info.max_batch)
            scores[rows] = self.backend.query(data.batch(rows).inputs).scores
        return scores

    def _calibrated_with_last(self, scores: Float32, b: int) -> Float32:
        """Scores (n, b, V, C) of (n, b + k, V, C), whose last k are those of the probes."""
        return self.calibrated(*np.split(scores, [b], axis=1))

    def _scores(self, candidates: Floats, batch: Batch) -> Float32:
        split = self.split_prompts(candidates)  # (n, V, d)
        n, v, _ = split.shape
        prompts, b = split.reshape(n * v, -1), len(batch.labels)

        def drawn(pairs: slice) -> Inputs:
            pieces = []
            for rows, columns in _pieces(pairs, b):
                features = None if batch.features is None else batch.features[columns]
                pieces.append(self.prompt.apply(prompts[rows], batch.inputs[columns], features))
            return np.concatenate(pieces) if len(pieces) > 1 else pieces[0]

        return self._asked(n * v * b, drawn).reshape(n, v, b, -1).swapaxes(1, 2)

    def _scores_of(self, prompted: Inputs) -> Float32:
        b, v = prompted.shape[:2]
        pairs = prompted.swapaxes(0, 1).reshape(v * b, *prompted.shape[2:])  # prompt by prompt, as in `answers`
        return self._asked(v * b, pairs.__getitem__).reshape(v, b, -1).swapaxes(0, 1)

    def _asked(self, count: int, draw: Callable[[slice], Inputs]) -> Float32:
        """Scores (count, C) of all inputs, which `draw` makes for one request at a time."""
        scores, limit = np.empty((count, len(self.info.classes)), np.float32), self.info.max_batch
        calls = [slice(start, min(start + limit, count)) for start in range(0, count, limit)]
        for call, inputs in zip(calls, _ahead(draw, calls), strict=True):
            scores[call] = self.backend.query(inputs).scores
        return scores


def _ahead(draw: Callable[[slice], Inputs], calls: Sequence[slice]) -> Iterator[Inputs]:
    """The inputs of each request; those of the next one are made while the model answers this one."""
    if len(calls) == 1:
        yield draw(calls[0])  # a thread would only cost time
        return
    with ThreadPoolExecutor(1) as thread:
        waiting = [thread.submit(copy_context().run, draw, call) for call in calls[:1]]
        for following in [*calls[1:], None]:
            inputs = waiting.pop().result()
            if following is not None:
                waiting.append(thread.submit(copy_context().run, draw, following))
            yield inputs


def _pieces(pairs: slice, b: int) -> list[tuple[slice, slice]]:
    """Splits a range of all (prompt, example) pairs, ordered by prompt, into rectangles (prompts, examples)."""
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
