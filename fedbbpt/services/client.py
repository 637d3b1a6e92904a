"""Where a service is asked: what is known is not asked again, what is sent is sent together, what got lost again."""

import hashlib
import json
from collections.abc import Sequence
from statistics import fmean

import numpy as np

from fedbbpt.assets.store import cache_folder
from fedbbpt.backend import BackendOutput
from fedbbpt.services import NO_SCORES, Reply, Service
from fedbbpt.services.answer_cache import Store, open_store
from fedbbpt.services.dispatcher import Asking, Terms
from fedbbpt.services.ledger import Account, Paid
from fedbbpt.services.prices import FREE, Price
from fedbbpt.services.rate_limit import Pace
from fedbbpt.services.refusals import Trouble
from fedbbpt.services.request import Request
from fedbbpt.types import Inputs

FILE = "answers.sqlite"
WAVES = 32  # requests of a call for each that may be under way at a time


def answers() -> Store:
    """All answers of services, and what they cost."""
    return open_store(cache_folder() / FILE)


class Desk:
    """Asks a service, from several threads.

    An answer is on disk before it is used, under the service's identity and the input, so that nobody ever pays for it
    again; where answers are `drawn` at random, also under the run and the number of the query within it, so that each
    query has its own. Requests that bring nothing are sent again, at most `retries` times; a query that stays without
    an answer is a row of NaN, and is not kept. One that the service refuses is a row of NaN that is kept, and why is in
    `trouble`. `width` is the number of scores; None is that of the first answer.
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
        drawn: bool = False,
    ) -> None:
        self.max_batch = WAVES * concurrency * service.max_inputs_per_request
        self.price = price  # None: not known
        self._width = width
        self.switch(service, drawn)
        self._concurrency, self._retries = concurrency, retries
        self._pace = Pace(concurrency, requests_per_minute, tokens_per_minute)
        self._account, self.asked = Account(), 0

    def switch(self, service: Service, drawn: bool) -> None:
        """From now on another service is asked, or the same in another way."""
        self._service, self._drawn, self.trouble = service, drawn, Trouble()
        self._identity = json.dumps(service.identity, sort_keys=True).encode()

    def charge(self, account: Account) -> None:
        """From now on this run pays, from its first query on."""
        self._account, self.asked = account, 0

    def paid(self) -> Paid:
        """What the run has paid for."""
        return answers().paid(self._account.run)

    def size(self, inputs: Inputs) -> tuple[float, float]:
        """Mean input and output tokens of one of these inputs, estimated."""
        sizes = [self._service.size(self._service.encode(one)) for one in inputs]
        return fmean(size.read for size in sizes), fmean(size.output_tokens for size in sizes)

    def query(self, inputs: Inputs) -> BackendOutput:
        """See `Backend.query`.

        Raises:
            BackendError: the service says what no repetition mends.
            BudgetError: the next request could cost more than the run may spend. What was answered is kept.
        """
        replies = [reply or NO_SCORES for reply in self.replies(inputs)]
        silent = np.full(self._width or 1, np.nan, np.float32)
        tokens, output, unparsed = (sum(column) for column in zip(*(reply[1:4] for reply in replies), strict=True))
        scores = np.stack([reply.scores if len(reply.scores) else silent for reply in replies])
        return BackendOutput(scores, tokens, unparsed, output)

    def replies(self, inputs: Inputs) -> list[Reply | None]:
        """What the service says to each of the inputs, None where nothing came; raises as `query` does."""
        encoded = [self._service.encode(one) for one in inputs]
        keys = [self._key(one, self.asked + i) for i, one in enumerate(encoded)]
        self.asked += len(encoded)
        store = answers()
        known = store.read(keys)
        self.trouble.answers |= any(len(reply.scores) for reply in known.values())
        passed = known.keys() | self.trouble.doubtful
        missing = list({key: one for key, one in zip(keys, encoded, strict=True) if key not in passed}.items())
        size = self._service.max_inputs_per_request
        requests = [self._request(missing[i : i + size]) for i in range(0, len(missing), size)]
        if requests:
            price = self.price or FREE
            terms = Terms(self._account, price, self._retries, self._concurrency, self._usable, self.trouble)
            known |= Asking(self._service, store, self._pace, terms).all(requests)
        return [known.get(key, NO_SCORES if key in self.trouble.doubtful else None) for key in keys]

    def _key(self, encoded: str, number: int) -> bytes:
        parts = [self._identity, encoded.encode()]
        if self._drawn:
            parts.append(f"{self._account.run}/{number}".encode())
        return hashlib.blake2b(b"\0".join(parts), digest_size=20).digest()

    def _request(self, missing: Sequence[tuple[bytes, str]]) -> Request:
        keys, encoded = [key for key, _ in missing], [one for _, one in missing]
        sizes = [self._service.size(one) for one in encoded]
        price = self.price or FREE
        most = sum(price.of(size.longest + size.output_tokens, size.output_tokens) for size in sizes)
        return Request(keys, encoded, sizes, most)

    def _usable(self, reply: Reply) -> bool:
        if not len(reply.scores):
            return True
        if reply.scores.ndim != 1 or np.isnan(reply.scores).any():
            return False
        if self._width is None:
            self._width = len(reply.scores)
        return len(reply.scores) == self._width
