"""One thread owns the model; what is asked at about the same time is put together into calls."""

import asyncio
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from itertools import accumulate, takewhile
from typing import NamedTuple

import numpy as np

from fedbbpt.backend import Answers
from fedbbpt.types import Inputs, Int64

Ask = Callable[[Inputs], Answers]  # `Backend.query`, or features in the place of scores
SPINS = "30000000"  # less than half a second, then they sleep
WINDOW = 0.003  # seconds that an idle model waits for more to put into a call


def model_thread() -> Executor:
    """The only thread that a model knows.

    It opens the model, too: OpenMP keeps a team of threads for each thread that ever computed, and where two teams
    share the cores, neither waits actively for its own any more, which takes a fifth longer. And, unless the user has
    said otherwise before the model is opened, they wait so for longer than usual, since requests come in between.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", SPINS)
    return ThreadPoolExecutor(1, "fedbbpt-model")


class Piece(NamedTuple):
    """What stays together in one call: a request's inputs, or as many of them as a call may hold."""

    ask: Ask
    inputs: Inputs
    due: float  # when it is no longer kept waiting for others
    answers: "Future[Answers]"


class Batcher:
    """Asks the model on behalf of many, in the one `thread` that has opened it (see `model_thread`).

    All is answered in the order in which it came. What comes within `window` seconds, or while the model is busy,
    shares calls of at most `limit` inputs. A request's inputs are split only where there are more of them, and then as
    whoever asks alone splits them: full calls first. A call that fails is repeated request by request, so that only
    those fail that fail by themselves. `called` is told of each call that was answered: size, seconds, answers.
    """

    def __init__(
        self, thread: Executor, limit: int, called: Callable[[int, float, Answers], None], window: float = WINDOW
    ) -> None:
        self._limit, self._called, self._window = limit, called, window
        self._waiting: deque[Piece] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._work_done = thread.submit(self._work)

    def submit(self, ask: Ask, inputs: Inputs) -> "list[Future[Answers]]":
        """The answers to come, a future for each piece of the inputs, in their order."""
        due = time.monotonic() + self._window
        starts = range(0, len(inputs), self._limit)
        pieces = [Piece(ask, inputs[i : i + self._limit], due, Future()) for i in starts]
        with self._changed:
            self._waiting.extend(pieces)
            self._changed.notify()
        return [piece.answers for piece in pieces]

    async def answers(self, ask: Ask, inputs: Inputs) -> Answers:
        """The answers to at least one input.

        Raises:
            Exception: whatever the model raised.
        """
        parts = await asyncio.gather(*map(asyncio.wrap_future, self.submit(ask, inputs)))
        scores = np.concatenate([part.scores for part in parts])
        tokens, output = sum(part.tokens for part in parts), sum(part.output_tokens for part in parts)
        return Answers(scores, tokens, output_tokens=output)

    def close(self) -> None:
        """Answers what still waits, but for what was cancelled, and leaves the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._work_done.result()

    def _work(self) -> None:
        while call := self._next_call():
            self._answer([piece for piece in call if piece.answers.set_running_or_notify_cancel()])

    def _next_call(self) -> list[Piece]:
        """Waits for what goes into the next call; nothing when there is none to come."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            if self._waiting:
                self._changed.wait_for(self._is_full, max(0.0, self._waiting[0].due - time.monotonic()))
            return [self._waiting.popleft() for _ in range(len(self._fitting()))]

    def _is_full(self) -> bool:
        """Whether nothing that may still come would go into the next call."""
        sizes = self._fitting()
        return self._closed or len(sizes) < len(self._waiting) or sizes[-1] == self._limit

    def _fitting(self) -> list[int]:
        """The size of the next call after each piece that goes into it."""
        alike = takewhile(lambda piece: piece.ask == self._waiting[0].ask, self._waiting)
        return list(takewhile(lambda size: size <= self._limit, accumulate(len(piece.inputs) for piece in alike)))

    def _answer(self, call: list[Piece]) -> None:
        if not call:
            return
        start = time.perf_counter()
        try:
            inputs = call[0].inputs if len(call) == 1 else np.concatenate([piece.inputs for piece in call])
            answers = call[0].ask(inputs)
            parts = list(_split(answers, call))
        except Exception as e:
            if len(call) == 1:
                call[0].answers.set_exception(e)
            else:
                for piece in call:
                    self._answer([piece])
            return
        self._called(len(inputs), time.perf_counter() - start, answers)
        for piece, part in zip(call, parts, strict=True):
            piece.answers.set_result(part)


def _split(answers: Answers, call: list[Piece]) -> Iterator[Answers]:
    """Each piece's own rows; the tokens of a shared call by the length of the texts, adding up to the call's."""
    rows = np.split(answers.scores, np.cumsum([len(piece.inputs) for piece in call])[:-1])
    lengths = np.cumsum([_length(piece.inputs) for piece in call])
    read = _shares(answers.tokens - answers.output_tokens, lengths)
    output = _shares(answers.output_tokens, lengths)
    for scores, r, w in zip(rows, read.tolist(), output.tolist(), strict=True):
        yield Answers(scores, r + w, output_tokens=w)


def _length(inputs: Inputs) -> int:
    return sum(1 + len(text) for text in inputs) if inputs.dtype == object else len(inputs)


def _shares(total: int, lengths: Int64) -> Int64:
    """Whole shares of a total, by lengths that are given as their running sum."""
    shares: Int64 = np.diff(total * lengths // lengths[-1], prepend=0)
    return shares
