"""The client of a service: known answers come from the cache, the others are asked for in batches and retried."""

import hashlib
import json
from collections.abc import Sequence
from statistics import fmean

import numpy as np

from fedbbpt.assets.store import cache_folder
from fedbbpt.backend import BackendOutput, BilledClient
from fedbbpt.services import NO_SCORES, Service, ServiceAnswer
from fedbbpt.services.answer_cache import AnswerCache, open_cache
from fedbbpt.services.dispatcher import DispatchOptions, RequestDispatcher
from fedbbpt.services.ledger import Account, BilledUsage
from fedbbpt.services.prices import FREE, Price
from fedbbpt.services.rate_limit import AdaptiveLimiter
from fedbbpt.services.refusals import RefusalTracker
from fedbbpt.services.request import Request
from fedbbpt.types import Inputs

FILE = "answers.sqlite"
WAVES = 32  # requests of one `query` for each request that may be in flight


def default_cache() -> AnswerCache:
    """The user's answers of all services, in `FEDBBPT_CACHE`."""
    return open_cache(cache_folder() / FILE)


class ServiceClient(BilledClient):
    """Asks a service, from several threads.

    An answer is on disk before it is used, under the service's identity and the input, so that nobody pays for it
    twice; where answers are `sampled` at random, also under the run and the number of the query within it, so that
    each query has an answer of its own. Failed requests are retried; a query that stays without an answer is a row of
    NaN, and is not stored. One that the service refuses is a row of NaN that is stored, and `refusals` says why.

    >>> import os, tempfile
    >>> from unittest.mock import patch
    >>> from fedbbpt.data.texts import as_texts
    >>> from fedbbpt.services import TokenEstimate
    >>> from fedbbpt.services.ledger import Budget
    >>> class LengthService:  # see `Service`
    ...     identity = {"name": "length"}
    ...     max_inputs_per_request = 2
    ...     def encode(self, one):
    ...         return one
    ...     def estimate_tokens(self, encoded):
    ...         return TokenEstimate(len(encoded), 0, len(encoded))
    ...     def send(self, encoded, key):
    ...         return [ServiceAnswer(np.array([len(text), 1], np.float32), len(text)) for text in encoded]
    >>> with tempfile.TemporaryDirectory() as folder, patch.dict(os.environ, FEDBBPT_CACHE=folder):
    ...     client = ServiceClient(LengthService(), width=2, concurrency=1, price=Price(1.0, 2.0))
    ...     client.bill_to(Account("run", Budget(requests=2)))
    ...     client.query(as_texts(["a", "bc", "a", "def"])).scores.tolist()
    ...     client.billed()
    [[1.0, 1.0], [2.0, 1.0], [1.0, 1.0], [3.0, 1.0]]
    BilledUsage(queries=3, requests=2, tokens=6, output_tokens=0, cost=6000)

    Args:
        service: the API.
        width: number of scores C of an answer; None: that of the first answer.
        concurrency: requests in flight, at most.
        requests_per_minute, tokens_per_minute: what the service allows; None is no limit.
        retries: of a failed request.
        price: None is unknown, and counts as free.
        sampled: whether the service draws its answers at random.
    """

    def __init__(
        self,
        service: Service,
        *,
        width: int | None,
        concurrency: int,
        requests_per_minute: int | None = None,
        tokens_per_minute: int | None = None,
        retries: int = 6,
        price: Price | None = FREE,
        sampled: bool = False,
    ) -> None:
        self.max_batch = WAVES * concurrency * service.max_inputs_per_request
        self.price = price
        self._width = width
        self.set_service(service, sampled)
        self._concurrency, self._retries = concurrency, retries
        self._limiter = AdaptiveLimiter(concurrency, requests_per_minute, tokens_per_minute)
        self._account, self.query_index = Account(), 0
        self.anew = False

    def set_service(self, service: Service, sampled: bool) -> None:
        """Asks another service from now on, or the same one in another way."""
        self._service, self._sampled, self.refusals = service, sampled, RefusalTracker()
        self._identity = json.dumps(service.identity, sort_keys=True).encode()

    def bill_to(self, account: Account) -> None:
        """See `BilledClient`."""
        self._account, self.query_index = account, 0

    def billed(self) -> BilledUsage:
        """See `BilledClient`."""
        return default_cache().billed(self._account.run)

    def estimate_tokens(self, inputs: Inputs) -> tuple[float, float]:
        """See `BilledClient`."""
        estimates = [self._service.estimate_tokens(self._service.encode(one)) for one in inputs]
        return fmean(one.input_tokens for one in estimates), fmean(one.output_tokens for one in estimates)

    def query(self, inputs: Inputs) -> BackendOutput:
        """See `Backend.query`.

        Raises:
            BackendError: the service reports an error that no retry mends.
            BudgetError: the next request could cost more than the run may spend. What was answered is stored.
        """
        answers = [answer or NO_SCORES for answer in self.ask(inputs)]
        missing = np.full(self._width or 1, np.nan, np.float32)
        scores = np.stack([answer.scores if len(answer.scores) else missing for answer in answers])
        tokens, output_tokens, unparsed = (sum(column) for column in zip(*(one[1:4] for one in answers), strict=True))
        return BackendOutput(scores, tokens=tokens, output_tokens=output_tokens, unparsed=unparsed)

    def ask(self, inputs: Inputs) -> list[ServiceAnswer | None]:
        """The service's answer to each input, None where there is none; raises as `query` does."""
        encoded = [self._service.encode(one) for one in inputs]
        keys = [self._key(one, self.query_index + i) for i, one in enumerate(encoded)]
        self.query_index += len(encoded)
        cache = default_cache()
        answers = cache.get(keys)
        self.refusals.has_answered |= any(len(answer.scores) for answer in answers.values())
        skipped = answers.keys() | self.refusals.suspected
        missing = list({key: one for key, one in zip(keys, encoded, strict=True) if key not in skipped}.items())
        size = self._service.max_inputs_per_request
        requests = [self._request(missing[i : i + size]) for i in range(0, len(missing), size)]
        if requests:
            options = DispatchOptions(
                self._account, self.price or FREE, self._retries, self._concurrency, self._is_usable, self.refusals
            )
            answers |= RequestDispatcher(self._service, cache, self._limiter, options).run(requests)
        return [answers.get(key, NO_SCORES if key in self.refusals.suspected else None) for key in keys]

    def _key(self, encoded: str, index: int) -> bytes:
        parts = [self._identity, encoded.encode()]
        if self._sampled or self.anew:
            parts.append(f"{self._account.run}/{index}".encode())
        return hashlib.blake2b(b"\0".join(parts), digest_size=20).digest()

    def _request(self, missing: Sequence[tuple[bytes, str]]) -> Request:
        keys, encoded = [key for key, _ in missing], [one for _, one in missing]
        estimates = [self._service.estimate_tokens(one) for one in encoded]
        price = self.price or FREE
        costs = (price.cost(one.max_input_tokens + one.output_tokens, one.output_tokens) for one in estimates)
        return Request(keys, encoded, estimates, sum(costs))

    def _is_usable(self, answer: ServiceAnswer) -> bool:
        if not len(answer.scores):
            return True
        if answer.scores.ndim != 1 or np.isnan(answer.scores).any():
            return False
        if self._width is None:
            self._width = len(answer.scores)
        return len(answer.scores) == self._width
