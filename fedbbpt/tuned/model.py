"""A tuned model in Python."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedbbpt.errors import BackendError, FedbbptError
from fedbbpt.run.budget import separate_account
from fedbbpt.services import RequestRejected
from fedbbpt.services.ledger import BilledUsage
from fedbbpt.tuned.backend import TunedBackend
from fedbbpt.tuned.inputs import as_inputs, given
from fedbbpt.tuned.state import TunedState
from fedbbpt.types import Float32, as_queried


class TunedModel:
    """What a run has learned, ready to classify.

    Inputs are PIL images, arrays (h, w, 3) or paths of images, or strings and paths of text files, as the model reads
    them; one of them, or several in a list or an array (n, h, w, 3).

    Args:
        state: what was learned.
        limits: max_queries, max_requests and max_cost (dollars), for all that this object asks.
        options: of the model's backend, in place of those of training, such as another `device`.
    """

    def __init__(
        self, state: TunedState, limits: Mapping[str, Any] | None = None, options: Mapping[str, Any] | None = None
    ) -> None:
        self.state, self._limits, self._options = state, limits, options
        self.backend = TunedBackend(state, separate_account(limits or {}), options)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles what was learned, not the model, which is opened again."""
        return TunedModel, (self.state, self._limits, self._options)

    def __repr__(self) -> str:
        """The model, its classes and what it was asked."""
        return f"<TunedModel {self.backend.info.model}: {len(self.classes)} classes, {self.queries:,} queries so far>"

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the K classes, in the order of `predict_proba`."""
        return self.backend.info.classes

    @property
    def queries(self) -> int:
        """Queries of the model so far: one per input and prompt."""
        return self.backend.asked.usage.queries

    @property
    def billed(self) -> BilledUsage | None:
        """What a paid service has billed for this object, stored answers left out; None for a model free of charge."""
        client = self.backend.service_client
        return None if client is None else client.billed()

    def predict(self, inputs: Any) -> Any:
        """The likeliest class of one input, or the list of those of several; None for one without an answer.

        Raises:
            DataError: an input is not what the model reads.
            BudgetError: the queries would exceed a limit. Answers of a paid service are kept, and not paid again.
            BackendError: the model cannot be asked.
        """
        wanted, many = given(inputs, self.backend.info.input_size), []
        for log_p in self._answers(wanted.items):
            many += [None if np.isnan(row).any() else self.classes[int(row.argmax())] for row in log_p]
        return many[0] if wanted.is_single else many

    def predict_proba(self, inputs: Any) -> Float32:
        """Probabilities (n, K) of several inputs, or (K,) of one, float32; NaN for one without an answer.

        Raises as `predict` does.
        """
        wanted = given(inputs, self.backend.info.input_size)
        parts = [probabilities(log_p) for log_p in self._answers(wanted.items)]
        many = np.concatenate([np.empty((0, len(self.classes)), np.float32), *parts])
        return many[0] if wanted.is_single else many

    def check_answered(self, rows: NDArray[np.floating[Any]]) -> None:
        """Checks that no row (n, K) of probabilities is one of NaN.

        Raises:
            RequestRejected: a service refused an input; its reason is given.
            BackendError: the model left an input without an answer.
        """
        if unanswered := int(np.isnan(rows).any(1).sum()):
            raise self.no_answer(f"{unanswered} of {len(rows)} inputs")

    def no_answer(self, what: str) -> FedbbptError:
        """The error for `what` has no answer, with the reason if one is known."""
        client = self.backend.service_client
        if client is None:
            return BackendError(f"the model did not answer {what}; ask again")
        if client.refusals.last_error:
            return RequestRejected(f"the service did not answer {what}: {client.refusals.last_error}")
        return BackendError(f"the service did not answer {what}, or has refused that before")

    def log_probabilities(self, inputs: NDArray[Any]) -> Float32:
        """(n, K) for one or more inputs, images as uint8 (n, 3, h, w), or texts (n,); asks `max_batch` at a time."""
        limit = self.backend.info.max_batch
        batches = (as_queried(inputs[start : start + limit]) for start in range(0, len(inputs), limit))
        return np.concatenate([self.backend.query(batch).scores for batch in batches])

    def _answers(self, items: Sequence[Any]) -> Iterator[Float32]:
        size, limit = self.backend.info.input_size, self.backend.info.max_batch
        for first in range(0, len(items), limit):
            yield self.log_probabilities(as_inputs(items[first : first + limit], size, first))


def probabilities(log_p: Float32) -> Float32:
    """Log-probabilities of any shape as probabilities."""
    return np.exp(log_p.astype(np.float64)).astype(np.float32)
