"""Dynamic batching: one thread owns the model, and requests that arrive at about the same time share its batches."""

import asyncio
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, takewhile

import numpy as np

from fedbbpt.backend import BackendOutput
from fedbbpt.types import Inputs, Int64

SPIN_COUNT = "30000000"  # OpenMP's idle threads spin for less than half a second, then sleep
WINDOW = 0.003  # seconds that an idle model waits for more inputs of a batch


def model_thread() -> Executor:
    """The one thread that opens and queries the model.

    OpenMP keeps a team of threads for each thread that ever computed. Where two teams share the cores, neither spins
    for its next work any more, and every batch takes a fifth longer: hence one thread, from the opening on. Since
    pauses between requests are long, its team spins longer than by default, unless the user has set
    `GOMP_SPINCOUNT`.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)
    return ThreadPoolExecutor(1, "fedbbpt-model")


@dataclass(frozen=True)
class ModelQuery:
    """How a model is asked, in two steps. The first needs no model: it is taken while a batch waits for more inputs.

    Attributes:
        prepare: inputs (b, …) as `answer` takes them, each by itself.
        answer: their scores, as `Backend.query` gives them; or features in place of scores.
    """

    prepare: Callable[[Inputs], Inputs]
    answer: Callable[[Inputs], BackendOutput]


@dataclass(eq=False)
class Chunk:
    """Inputs that stay together in a batch: all of a request, or as many of them as a batch may hold."""

    query: ModelQuery
    inputs: Inputs
    due: float  # when it no longer waits for other chunks
    output: "Future[BackendOutput]"

    @cached_property
    def prepared(self) -> Inputs:
        """The inputs after the first step."""
        return self.query.prepare(self.inputs)


class Batcher:
    """Queries the model for many requests, in the one `thread` that has opened it (see `model_thread`).

    Requests are answered in the order in which they arrive. Those that arrive within `window` seconds, or while the
    model is busy, share batches of at most `limit` inputs; the first step of those that wait is taken meanwhile. Only a
    request with more inputs is split, and then as a caller alone would split it: full batches first. A batch that fails
    is repeated request by request, so that only those fail that fail by themselves. `on_batch` is called with each
    answered batch's size, seconds and output.
    """

    def __init__(
        self,
        thread: Executor,
        limit: int,
        on_batch: Callable[[int, float, BackendOutput], None],
        window: float = WINDOW,
    ) -> None:
        self._limit, self._on_batch, self._window = limit, on_batch, window
        self._waiting: deque[Chunk] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._loop_ended = thread.submit(self._loop)

    def submit(self, query: ModelQuery, inputs: Inputs) -> "list[Future[BackendOutput]]":
        """Queues inputs; the futures give their output chunk by chunk, in the order of the inputs."""
        due = time.monotonic() + self._window
        starts = range(0, len(inputs), self._limit)
        chunks = [Chunk(query, inputs[i : i + self._limit], due, Future()) for i in starts]
        with self._changed:
            self._waiting.extend(chunks)
            self._changed.notify()
        return [chunk.output for chunk in chunks]

    async def query(self, query: ModelQuery, inputs: Inputs) -> BackendOutput:
        """The output for at least one input.

        Raises:
            Exception: whatever the model raised.
        """
        parts = await asyncio.gather(*map(asyncio.wrap_future, self.submit(query, inputs)))
        scores = np.concatenate([part.scores for part in parts])
        tokens, output = sum(part.tokens for part in parts), sum(part.output_tokens for part in parts)
        return BackendOutput(scores, tokens, output_tokens=output)

    def close(self) -> None:
        """Answers all that still waits and was not cancelled, then frees the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._loop_ended.result()

    def _loop(self) -> None:
        while batch := self._next_batch():
            self._run([chunk for chunk in batch if chunk.output.set_running_or_notify_cancel()])

    def _next_batch(self) -> list[Chunk]:
        """Waits for the chunks of the next batch; empty once the batcher is closed and none wait."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            early = [] if not self._waiting or self._is_full() else [*self._waiting]
        for chunk in early:
            with suppress(Exception):  # it is raised again where the batch is run
                _ = chunk.prepared
        with self._changed:
            if self._waiting:
                self._changed.wait_for(self._is_full, max(0.0, self._waiting[0].due - time.monotonic()))
            return [self._waiting.popleft() for _ in range(len(self._batch_sizes()))]

    def _is_full(self) -> bool:
        """Whether no chunk that may still arrive could join the next batch."""
        sizes = self._batch_sizes()
        return self._closed or len(sizes) < len(self._waiting) or sizes[-1] == self._limit

    def _batch_sizes(self) -> list[int]:
        """The size of the next batch after each chunk that fits into it."""
        alike = takewhile(lambda chunk: chunk.query == self._waiting[0].query, self._waiting)
        return list(takewhile(lambda size: size <= self._limit, accumulate(len(chunk.inputs) for chunk in alike)))

    def _run(self, batch: list[Chunk]) -> None:
        if not batch:
            return
        start = time.perf_counter()
        try:
            inputs = batch[0].prepared if len(batch) == 1 else np.concatenate([chunk.prepared for chunk in batch])
            output = batch[0].query.answer(inputs)
            parts = list(_per_chunk(output, batch))
        except Exception as e:
            if len(batch) == 1:
                batch[0].output.set_exception(e)
            else:
                for chunk in batch:
                    self._run([chunk])
            return
        self._on_batch(len(inputs), time.perf_counter() - start, output)
        for chunk, part in zip(batch, parts, strict=True):
            chunk.output.set_result(part)


def _per_chunk(output: BackendOutput, batch: list[Chunk]) -> Iterator[BackendOutput]:
    """Each chunk's rows, and its share of the tokens by the length of its texts; the shares add up to the batch's."""
    rows = np.split(output.scores, np.cumsum([len(chunk.inputs) for chunk in batch])[:-1])
    lengths = np.cumsum([_length(chunk.inputs) for chunk in batch])
    read = _shares(output.tokens - output.output_tokens, lengths)
    written = _shares(output.output_tokens, lengths)
    for scores, r, w in zip(rows, read.tolist(), written.tolist(), strict=True):
        yield BackendOutput(scores, r + w, output_tokens=w)


def _length(inputs: Inputs) -> int:
    return sum(1 + len(text) for text in inputs) if inputs.dtype == object else len(inputs)


def _shares(total: int, cumulative_lengths: Int64) -> Int64:
    """Integer shares of a total, in proportion to lengths."""
    shares: Int64 = np.diff(total * cumulative_lengths // cumulative_lengths[-1], prepend=0)
    return shares
