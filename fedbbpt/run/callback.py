"""What a caller can follow of a run while it works."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

from fedbbpt.run.experiment import Experiment
from fedbbpt.run.query_budget import QueryPlan


class Callback:
    """Methods that `train` and `resume` call as a run proceeds; override the ones you need.

    An exception raised by any of them stops the run, which can then be resumed. `Callbacks` makes one of several.

    >>> class Accuracies(Callback):
    ...     def __init__(self):
    ...         self.values = []
    ...
    ...     def on_round(self, row):
    ...         self.values.append(row["accuracy"])
    """

    def on_plan(self, plan: QueryPlan, experiment: Experiment, rounds_done: int) -> None:
        """Called once, before the first query, with the number of rounds that a resumed run has behind it."""

    def on_queries(self, queries: int) -> None:
        """Called as the clients' queries are answered, with the number of the run's queries so far.

        Clients in other processes count when they reply. A client that has died may have been counted until the end of
        its round.
        """

    def on_round(self, row: Mapping[str, Any]) -> None:
        """Called with each new row of `metrics.jsonl`: the start (round 0), every round, and the test scores."""

    def on_message(self, text: str) -> None:
        """Called with a sentence that the user should see, such as a client that died."""

    def on_summary(self, summary: Mapping[str, Any]) -> None:
        """Called once, at the end, with the contents of `summary.json`."""

    def close(self) -> None:
        """Called last, however the run ends; also if it never began."""


class Callbacks(Callback):
    """Several callbacks as one: each is called, in their order.

    >>> Callbacks(Callback(), Callback()).on_message("A sentence.")
    """

    def __init__(self, *callbacks: Callback) -> None:
        self.callbacks = callbacks

    def on_plan(self, plan: QueryPlan, experiment: Experiment, rounds_done: int) -> None:
        """See `Callback`."""
        for callback in self.callbacks:
            callback.on_plan(plan, experiment, rounds_done)

    def on_queries(self, queries: int) -> None:
        """See `Callback`."""
        for callback in self.callbacks:
            callback.on_queries(queries)

    def on_round(self, row: Mapping[str, Any]) -> None:
        """See `Callback`."""
        for callback in self.callbacks:
            callback.on_round(row)

    def on_message(self, text: str) -> None:
        """See `Callback`."""
        for callback in self.callbacks:
            callback.on_message(text)

    def on_summary(self, summary: Mapping[str, Any]) -> None:
        """See `Callback`."""
        for callback in self.callbacks:
            callback.on_summary(summary)

    def close(self) -> None:
        """See `Callback`; each is closed, also if another one cannot be."""
        with ExitStack() as stack:
            for callback in reversed(self.callbacks):
                stack.callback(callback.close)


@contextmanager
def closed_at_the_end(callback: Callback) -> Iterator[None]:
    """Closes the callback; the error that ended the run goes before one of closing."""
    try:
        yield
    except BaseException:
        with suppress(Exception):
            callback.close()
        raise
    callback.close()
