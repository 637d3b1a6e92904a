"""Sends requests, several at a time: which may be sent, what came of them, and which are retried."""

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import NamedTuple

from fedbbpt.errors import BudgetError, FedbbptError
from fedbbpt.services import (
    NO_SCORES,
    RECOVERABLE,
    InvalidResponse,
    RateLimited,
    RequestRejected,
    Service,
    ServiceAnswer,
)
from fedbbpt.services.answer_cache import AnswerCache, Transaction
from fedbbpt.services.ledger import Account, LedgerEntry
from fedbbpt.services.prices import Price
from fedbbpt.services.rate_limit import AdaptiveLimiter
from fedbbpt.services.refusals import RefusalTracker
from fedbbpt.services.request import UNUSABLE, Request, with_plausible_tokens

LOG_THROTTLED, MAX_THROTTLED = 5, 50  # times in a row that a busy service turns a request away: logged, failed
POLL_INTERVAL = 0.05  # seconds between two looks at a limiter that others use too
log = logging.getLogger("fedbbpt")

Reserved = tuple[Request, LedgerEntry]
Result = list[ServiceAnswer] | BaseException
Completed = tuple[Request, LedgerEntry, Result]


class DispatchOptions(NamedTuple):
    """Who pays for requests, and how they are sent."""

    account: Account
    price: Price
    retries: int
    concurrency: int
    is_usable: Callable[[ServiceAnswer], bool]
    refusals: RefusalTracker


class RequestDispatcher:
    """Sends requests to a service. Worker threads send what is reserved; the calling thread keeps the ledger.

    Each request is reserved in the ledger before it is sent, and each answer is in the cache before it is returned.
    All requests that have completed since the last commit share the next one with new reservations, so that no worker
    waits for the disk.
    """

    def __init__(
        self, service: Service, cache: AnswerCache, limiter: AdaptiveLimiter, options: DispatchOptions
    ) -> None:
        self._service, self._cache, self._limiter, self._options = service, cache, limiter, options
        self._name = str(service.identity["name"])
        self._max_reserved = options.concurrency + max(1, options.concurrency // 4)  # in flight or about to be
        self._waiting: deque[Request] = deque()
        self._backing_off: list[Request] = []
        self._open = 0  # requests without an outcome
        self._answers: dict[bytes, ServiceAnswer] = {}
        self._completed: SimpleQueue[Completed] = SimpleQueue()
        self._changed = threading.Condition()  # guards what the threads share:
        self._reserved: deque[Reserved] = deque()
        self._in_flight, self._stopped = 0, False

    def run(self, requests: Sequence[Request]) -> dict[bytes, ServiceAnswer]:
        """Sends the requests; returns the answers by key, without those that never came.

        If an error ends it, requests in flight are waited for, and their answers stored.

        Raises:
            FedbbptError: the service reports an error that no retry mends.
            BudgetError: the next request could cost more than the run may spend.
            RunError: the cache cannot be written.
        """
        self._waiting.extend(requests)
        self._open = len(requests)
        threads = min(self._options.concurrency, len(requests))
        with ThreadPoolExecutor(threads, "dispatcher") as pool:
            for _ in range(threads):
                pool.submit(self._work)
            try:
                self._commit([], more=True)
                while self._open:
                    done = self._next_completed(self._backoff_remaining())
                    errors = [r for _, _, r in done if isinstance(r, BaseException) and not isinstance(r, RECOVERABLE)]
                    self._commit(done, more=not errors)
                    if errors:
                        raise errors[0]
                    self._options.refusals.check()
                self._options.refusals.check(done=True)
            finally:
                self._drain()
        return self._answers

    def _work(self) -> None:
        """Sends requests, in a worker thread, until all is over."""
        result: Result
        while reserved := self._next_request():
            request, entry = reserved
            try:
                result = self._service.send(request.encoded, request.idempotency_key)
            except BaseException as e:
                result = e
            if isinstance(result, RateLimited):
                self._limiter.on_throttle(result.retry_after)
            elif isinstance(result, BaseException) and not isinstance(result, RECOVERABLE):
                self._stopped = True
            self._limiter.release()
            self._completed.put((request, entry, result))

    def _next_request(self) -> Reserved | None:
        """The next request, as soon as it may be sent; None when all is over."""
        with self._changed:
            while not self._stopped:
                wait = self._limiter.try_acquire(self._reserved[0][0].tokens) if self._reserved else math.inf
                if not wait:
                    self._in_flight += 1
                    return self._reserved.popleft()
                self._changed.wait((POLL_INTERVAL if math.isinf(wait) else wait) if self._reserved else None)
            return None

    def _next_completed(self, timeout: float | None) -> list[Completed]:
        """The requests that have completed: at least one, unless the timeout (seconds) passes first."""
        done: list[Completed] = []
        with suppress(Empty):
            done.append(self._completed.get(timeout=timeout))
            while True:
                done.append(self._completed.get_nowait())
        with self._changed:
            self._in_flight -= len(done)
        return done

    def _backoff_remaining(self) -> float | None:
        """Seconds until a request may be retried; None if none is backing off."""
        first = min((request.not_before for request in self._backing_off), default=None)
        return None if first is None else max(0.0, first - time.monotonic())

    def _commit(self, done: Sequence[Completed], more: bool) -> None:
        """Records completed requests and, with `more`, reserves the next ones, in one transaction."""
        now = time.monotonic()
        self._waiting.extendleft(request for request in self._backing_off if request.not_before <= now)
        self._backing_off = [request for request in self._backing_off if request.not_before > now]
        with self._changed:
            under_way = len(self._reserved) + self._in_flight
        reserved: list[Reserved] = []
        over_budget = None
        with self._cache.transaction() as transaction:
            for one in done:
                self._record(transaction, *one)
            try:
                while more and self._waiting and under_way + len(reserved) < self._max_reserved:
                    reserved.append((self._waiting[0], self._reserve(transaction, self._waiting[0])))
                    self._waiting.popleft()
            except BudgetError as e:
                over_budget = e
        with self._changed:
            self._reserved.extend(reserved)
            self._changed.notify(len(reserved))
            if over_budget and not (self._reserved or self._in_flight):  # those may turn out to be cheaper
                raise over_budget

    def _drain(self) -> None:
        """Waits for requests in flight, records them, and releases those that were not sent."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        while self._in_flight:
            self._commit(self._next_completed(None), more=False)
        if self._reserved:
            with self._cache.transaction() as transaction:
                for _, entry in self._reserved:
                    transaction.release(entry)

    def _reserve(self, transaction: Transaction, request: Request) -> LedgerEntry:
        run, budget = self._options.account
        key, size = request.idempotency_key, len(request.keys)
        return transaction.reserve(run, budget, self._name, key, size, request.max_cost)

    def _record(self, transaction: Transaction, request: Request, entry: LedgerEntry, result: Result) -> None:
        """Records what came of a request, and retries it if that was nothing."""
        self._open -= 1
        if isinstance(result, RequestRejected):
            transaction.release(entry)
            self._isolate(transaction, request, result)
        elif isinstance(result, (RateLimited, FedbbptError)) and not isinstance(result, InvalidResponse):
            transaction.release(entry)
            self._retry(request, result)
        elif isinstance(result, BaseException) or not self._accept(transaction, request, entry, result):
            transaction.mark_lost(entry)
            self._retry(request, result)
        else:
            self._limiter.on_success()

    def _retry(self, request: Request, result: object) -> None:
        """Sends the request again after a backoff, unless that has been tried often enough."""
        refusals = self._options.refusals
        refusals.last_error = str(result) if isinstance(result, Exception) else UNUSABLE
        if isinstance(result, RateLimited):
            request.throttled += 1
            if request.throttled == LOG_THROTTLED and not refusals.busy_logged:
                refusals.busy_logged = True
                log.warning("%s; it is asked again, less and less often, up to %d times", result, MAX_THROTTLED)
        else:
            request.back_off()
        if request.failures <= self._options.retries and request.throttled < MAX_THROTTLED:
            self._backing_off.append(request)
            self._open += 1

    def _isolate(self, transaction: Transaction, request: Request, error: RequestRejected) -> None:
        """Finds out which input is refused, by sending each by itself; that one is not sent again."""
        if len(request.keys) > 1:
            self._waiting.extendleft(request.subset([i]) for i in range(len(request.keys)))
            self._open += len(request.keys)
        else:
            self._give_up(transaction, self._options.refusals.refuse(request.keys[0], error))

    def _give_up(self, transaction: Transaction, keys: Sequence[bytes]) -> None:
        refused = dict.fromkeys(keys, NO_SCORES)
        transaction.add(self._name, refused)
        self._answers |= refused

    def _accept(
        self, transaction: Transaction, request: Request, entry: LedgerEntry, answers: Sequence[ServiceAnswer]
    ) -> bool:
        """Stores the usable answers, and retries the other inputs; False if none is usable."""
        if len(answers) != len(request.keys):
            return False
        answers = with_plausible_tokens(answers, request.estimates)
        pairs = zip(request.keys, answers, strict=True)
        usable = {key: answer for key, answer in pairs if self._options.is_usable(answer)}
        if not usable:
            return False
        cost = sum(self._options.price.cost(answer.tokens, answer.output_tokens) for answer in answers)
        transaction.commit_answers(entry, usable, cost)
        self._answers |= usable
        if any(len(answer.scores) for answer in usable.values()):
            self._give_up(transaction, self._options.refusals.answer())
        for i, key in enumerate(request.keys):
            if key not in usable:  # each by itself: some services read only the first of several
                self._retry(request.subset([i]), None)
        return True
