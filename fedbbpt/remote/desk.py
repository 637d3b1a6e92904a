"""Where a service is asked: what is known is not asked again, what is sent is sent together, what got lost again."""

import hashlib
import json
import random
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from statistics import fmean

import numpy as np

from fedbbpt.assets.store import cache
from fedbbpt.backend import Answers
from fedbbpt.remote import Busy, Lost, Reply, Service, Size
from fedbbpt.remote.ledger import Account, Paid
from fedbbpt.remote.pace import Pace
from fedbbpt.remote.prices import FREE, Price
from fedbbpt.remote.store import open_store
from fedbbpt.types import Inputs

FILE = "answers.sqlite"
WAVES = 8  # requests of a call for each that may be under way at a time
MOST_BUSY = 50  # times in a row that a request is turned away before it counts as failed
FIRST_PAUSE, LONGEST_PAUSE = 0.25, 30.0  # seconds before a request is sent again


class Desk:
    """Asks a service, from several threads.

    An answer is on disk before it is used, under the service's identity and the input, so that nobody ever pays for it
    again; where answers are `drawn` at random, also under the run and the number of the query within it, so that each
    query has its own. Requests that bring nothing are sent again, at most `retries` times; a query that stays without
    an answer is a row of NaN, and is not kept. `width` is the number of scores; None is that of the first answer.
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
        self.batch_limit = WAVES * concurrency * service.request_limit
        self.price = price  # None: not known
        self._width, self._drawn = width, drawn
        self.switch(service)
        self._concurrency, self._retries = concurrency, retries
        self._pace = Pace(concurrency, requests_per_minute, tokens_per_minute)
        self._account, self.asked = Account(), 0

    def switch(self, service: Service) -> None:
        """From now on another service is asked, or the same in another way."""
        self._service = service
        self._name = str(service.identity["name"])
        self._identity = json.dumps(service.identity, sort_keys=True).encode()

    def charge(self, account: Account) -> None:
        """From now on this run pays, from its first query on."""
        self._account, self.asked = account, 0

    def paid(self) -> Paid:
        """What the run has paid for."""
        return open_store(cache() / FILE).paid(self._account.run)

    def size(self, inputs: Inputs) -> tuple[float, float]:
        """Tokens read and written for each of these inputs, estimated: the mean."""
        sizes = [self._service.size(self._service.encode(one)) for one in inputs]
        return fmean(size.read for size in sizes), fmean(size.written for size in sizes)

    def query(self, inputs: Inputs) -> Answers:
        """See `Backend.query`.

        Raises:
            BackendError: the service says what no repetition mends.
            BudgetError: the next request could cost more than the run may spend. What was answered is kept.
        """
        encoded = [self._service.encode(one) for one in inputs]
        keys = [self._key(one, self.asked + i) for i, one in enumerate(encoded)]
        self.asked += len(encoded)
        store = open_store(cache() / FILE)
        known = store.read(keys)
        missing = list({key: one for key, one in zip(keys, encoded, strict=True) if key not in known}.items())
        size = self._service.request_limit
        known |= self._asked_for([missing[i : i + size] for i in range(0, len(missing), size)])
        silent = Reply(np.full(self._width or 1, np.nan, np.float32))
        replies = [known.get(key, silent) for key in keys]
        tokens, written, unmatched = (sum(getattr(r, part) for r in replies) for part in Reply._fields[1:])
        return Answers(np.stack([reply.scores for reply in replies]), tokens, unmatched, written)

    def _key(self, encoded: str, number: int) -> bytes:
        parts = [self._identity, encoded.encode()]
        if self._drawn:
            parts.append(f"{self._account.run}/{number}".encode())
        return hashlib.blake2b(b"\0".join(parts), digest_size=20).digest()

    def _asked_for(self, requests: Sequence[list[tuple[bytes, str]]]) -> dict[bytes, Reply]:
        """The replies to all requests. Where one fails for good, those under way are waited for and kept."""
        found: dict[bytes, Reply] = {}
        stop = threading.Event()
        with ThreadPoolExecutor(self._concurrency, "asking") as pool:
            waiting = [pool.submit(self._tried, request, stop) for request in requests]
            try:
                for one in waiting:
                    found |= one.result()
            finally:
                stop.set()
        return found

    def _tried(self, request: list[tuple[bytes, str]], stop: threading.Event) -> dict[bytes, Reply]:
        """As `_ask`; what goes wrong for good stops all other requests, too."""
        try:
            return self._ask(request, stop)
        except BaseException:
            stop.set()
            raise

    def _ask(self, request: list[tuple[bytes, str]], stop: threading.Event) -> dict[bytes, Reply]:
        """One request, as often as it takes; nothing where it brings nothing."""
        sizes = [self._service.size(encoded) for _, encoded in request]
        lost = turned_away = 0
        while (
            lost <= self._retries
            and turned_away < MOST_BUSY
            and self._pace.enter(sum(s.read + s.written for s in sizes), stop)
        ):
            try:
                replies = self._send(request, sizes, last=lost == self._retries)
            except Busy as e:
                self._pace.busy(e.after)
                turned_away += 1
                continue
            finally:
                self._pace.leave()
            if replies:
                self._pace.answered()
                return replies
            lost, turned_away = lost + 1, 0
            stop.wait(min(LONGEST_PAUSE, FIRST_PAUSE * 2**lost) * random.SystemRandom().uniform(0.5, 1))
        return {}

    def _send(self, request: list[tuple[bytes, str]], sizes: list[Size], last: bool) -> dict[bytes, Reply]:
        """One attempt, in the book before it is made; with the `last`, some usable replies are better than none."""
        store, (run, limits) = open_store(cache() / FILE), self._account
        keys, encoded = [key for key, _ in request], [one for _, one in request]
        name = hashlib.blake2b(b"".join(keys), digest_size=20).hexdigest()
        most = sum(self._cost(size.longest + size.written, size.written) for size in sizes)
        number = store.reserve(run, limits, self._name, name, len(request), most)
        try:
            replies = self._service.send(encoded, name)
        except Lost:
            replies = []
        except BaseException:
            store.refuse(number)
            raise
        usable = {key: reply for key, reply in zip(keys, replies, strict=False) if self._usable(reply)}
        if len(replies) != len(keys) or (len(usable) < len(keys) and not (usable and last)):
            store.lose(number)
            return {}
        cost = sum(self._cost(reply.tokens, reply.written) for reply in usable.values())
        store.settle(number, self._name, usable, cost)
        return usable

    def _cost(self, tokens: int, written: int) -> int:
        return 0 if self.price is None else self.price.of(tokens, written)

    def _usable(self, reply: Reply) -> bool:
        if self._width is None:
            self._width = len(reply.scores)
        return reply.scores.shape == (self._width,) and not np.isnan(reply.scores).any()
