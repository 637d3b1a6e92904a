"""What a caller can follow of a run while it works."""

from collections.abc import Iterable, Mapping
from typing import Any

from fedbbpt.run.experiment import Experiment
from fedbbpt.run.query_budget import QueryPlan


class Callback:
    """Methods that `train` and `resume` call as a run proceeds; override the ones you need.

    An exception raised by any of them stops the run, which can then be resumed.

    >>> class Accuracies(Callback):
    ...     def __init__(self):
    ...         self.values = []
    ...
    ...     def on_round(self, row):
    ...         self.values.append(row["accuracy"])
    """

    def on_plan(self, plan: QueryPlan, experiment: Experiment, rounds_done: int) -> None:
        """Called once, before the first query, with the number of rounds that a resumed run has behind it."""

    def on_round(self, row: Mapping[str, Any]) -> None:
        """Called with each new row of `metrics.jsonl`: the start (round 0), every round, and the test scores."""

    def on_message(self, text: str) -> None:
        """Called with a sentence that the user should see, such as a client that died."""

    def on_summary(self, summary: Mapping[str, Any]) -> None:
        """Called once, at the end, with the contents of `summary.json`."""


class Callbacks(Callback):
    """Several callbacks as one; each is called in their order."""

    def __init__(self, callbacks: Iterable[Callback]) -> None:
        self._callbacks = tuple(callbacks)

    def on_plan(self, plan: QueryPlan, experiment: Experiment, rounds_done: int) -> None:
        """See `Callback`."""
        for callback in self._callbacks:
            callback.on_plan(plan, experiment, rounds_done)

    def on_round(self, row: Mapping[str, Any]) -> None:
        """See `Callback`."""
        for callback in self._callbacks:
            callback.on_round(row)

    def on_message(self, text: str) -> None:
        """See `Callback`."""
        for callback in self._callbacks:
            callback.on_message(text)

    def on_summary(self, summary: Mapping[str, Any]) -> None:
        """See `Callback`."""
        for callback in self._callbacks:
            callback.on_summary(summary)
