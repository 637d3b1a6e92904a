"""Several requests at a time: which of them may be sent, what came of them, which are sent again."""

import logging
import math
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import NamedTuple

from fedbbpt.errors import BudgetError, FedbbptError
from fedbbpt.services import NO_SCORES, Busy, Lost, Refused, Reply, Service, Spoilt
from fedbbpt.services.answer_cache import Book, Store
from fedbbpt.services.ledger import Account, Entry
from fedbbpt.services.prices import Price
from fedbbpt.services.rate_limit import Pace
from fedbbpt.services.refusals import Trouble
from fedbbpt.services.request import Request, believed

MOST_BUSY = 50  # times in a row that a request is turned away before it counts as failed
WORTH_SAYING = 5  # of them, from which on it is said
UNUSABLE = "scores that are no numbers, or not as many as before"
FIRST_PAUSE, LONGEST_PAUSE = 0.25, 30.0  # seconds before a request is sent again
BEARABLE = (Busy, Lost, Refused)  # what does not end everything
LOOK = 0.05  # seconds after which is looked whether others, who share the pace, have left room
log = logging.getLogger("fedbbpt")

Booked = tuple[Request, Entry]  # and how it stands in the book
Ended = tuple[Request, Entry, list[Reply] | BaseException]  # and what came of it


class Terms(NamedTuple):
    """On what terms is asked."""

    account: Account
    price: Price
    retries: int
    concurrency: int
    usable: Callable[[Reply], bool]
    trouble: Trouble


class Asking:
    """Asks a service all of some requests. Threads send what is in the book, one after the other; this one keeps it.

    Each request is in the book before it is sent, and each answer in the store before it is returned. What has ended
    since the last look is one commit with what may be sent next, so that no thread has to wait for the disk.
    """

    def __init__(self, service: Service, store: Store, pace: Pace, terms: Terms) -> None:
        self._service, self._store, self._pace, self._terms = service, store, pace, terms
        self._most = terms.concurrency + max(1, terms.concurrency // 4)  # requests that are booked or under way
        self._waiting: deque[Request] = deque()
        self._resting: list[Request] = []
        self._left = 0  # requests of which is not known how they end
        self._found: dict[bytes, Reply] = {}
        self._ended: SimpleQueue[Ended] = SimpleQueue()
        self._changed = threading.Condition()  # guards what threads share:
        self._booked: deque[Booked] = deque()
        self._under_way, self._over = 0, False

    def all(self, requests: Sequence[Request]) -> dict[bytes, Reply]:
        """The replies, without those that never came. Where a request fails for good, those under way are kept.

        Raises:
            FedbbptError: what no repetition mends.
            BudgetError: the next request could cost more than the run may spend.
            RunError: the store cannot be written.
        """
        self._waiting.extend(requests)
        self._left = len(requests)
        threads = min(self._terms.concurrency, len(requests))
        with ThreadPoolExecutor(threads, "dispatcher") as pool:
            for _ in range(threads):
                pool.submit(self._work)
            try:
                self._commit([], more=True)
                while self._left:
                    ended = self._next(self._until_rested())
                    errors = [o for _, _, o in ended if isinstance(o, BaseException) and not isinstance(o, BEARABLE)]
                    self._commit(ended, more=not errors)
                    if errors:
                        raise errors[0]
                    self._terms.trouble.check()
                self._terms.trouble.check(over=True)
            finally:
                self._end()
        return self._found

    def _work(self) -> None:
        """Sends requests, in a thread, as long as there are some."""
        while one := self._take():
            request, entry = one
            outcome: list[Reply] | BaseException
            try:
                outcome = self._service.send(request.encoded, request.name)
            except BaseException as e:
                outcome = e
            if isinstance(outcome, Busy):
                self._pace.busy(outcome.after)
            elif isinstance(outcome, BaseException) and not isinstance(outcome, BEARABLE):
                self._over = True
            self._pace.leave()
            self._ended.put((request, entry, outcome))

    def _take(self) -> Booked | None:
        """The next request, as soon as it may be sent; None when all is over."""
        with self._changed:
            while not self._over:
                wait = self._pace.enter(self._booked[0][0].tokens) if self._booked else math.inf
                if not wait:
                    self._under_way += 1
                    return self._booked.popleft()
                self._changed.wait((LOOK if math.isinf(wait) else wait) if self._booked else None)
            return None

    def _next(self, timeout: float | None) -> list[Ended]:
        """What has ended, when something has, or so many seconds are over."""
        ended: list[Ended] = []
        with suppress(Empty):
            ended.append(self._ended.get(timeout=timeout))
            while True:
                ended.append(self._ended.get_nowait())
        with self._changed:
            self._under_way -= len(ended)
        return ended

    def _until_rested(self) -> float | None:
        """Seconds until a request may be sent again; None if none waits for it."""
        first = min((one.not_before for one in self._resting), default=None)
        return None if first is None else max(0.0, first - time.monotonic())

    def _commit(self, ended: Sequence[Ended], more: bool) -> None:
        """Writes down what has ended, and, if there is to be `more`, what may be sent next."""
        now = time.monotonic()
        self._waiting.extendleft(one for one in self._resting if one.not_before <= now)
        self._resting = [one for one in self._resting if one.not_before > now]
        with self._changed:
            going = len(self._booked) + self._under_way
        booked: list[Booked] = []
        too_much = None
        with self._store.writing() as book:
            for one in ended:
                self._note(book, *one)
            try:
                while more and self._waiting and going + len(booked) < self._most:
                    booked.append((self._waiting[0], self._reserve(book, self._waiting[0])))
                    self._waiting.popleft()
            except BudgetError as e:
                too_much = e
        with self._changed:
            self._booked.extend(booked)
            self._changed.notify(len(booked))
            if too_much and not (self._booked or self._under_way):  # those may turn out to be cheaper
                raise too_much

    def _end(self) -> None:
        """Waits for what is under way, keeps it, and takes back what was not sent."""
        with self._changed:
            self._over = True
            self._changed.notify_all()
        while self._under_way:
            self._commit(self._next(None), more=False)
        if self._booked:
            with self._store.writing() as book:
                for _, entry in self._booked:
                    book.refuse(entry)

    def _reserve(self, book: Book, request: Request) -> Entry:
        run, limits = self._terms.account
        name = str(self._service.identity["name"])
        return book.reserve(run, limits, name, request.name, len(request.keys), request.most)

    def _note(self, book: Book, request: Request, entry: Entry, outcome: list[Reply] | BaseException) -> None:
        """Writes down what came of a request; one that brought nothing is to be sent again."""
        self._left -= 1
        if isinstance(outcome, Refused):
            book.refuse(entry)
            self._refused(book, request, outcome)
        elif isinstance(outcome, (Busy, FedbbptError)) and not isinstance(outcome, Spoilt):
            book.refuse(entry)
            self._again(request, outcome)
        elif isinstance(outcome, BaseException) or not self._settle(book, request, entry, outcome):
            book.lose(entry)
            self._again(request, outcome)
        else:
            self._pace.answered()

    def _again(self, request: Request, outcome: object) -> None:
        """The request is sent again after a while, unless that has been tried often enough."""
        trouble = self._terms.trouble
        trouble.last = str(outcome) if isinstance(outcome, Exception) else UNUSABLE
        if isinstance(outcome, Busy):
            request.turned_away += 1
            if request.turned_away == WORTH_SAYING and not trouble.busy:
                trouble.busy = True
                log.warning("%s; it is asked again, less and less often, up to %d times", outcome, MOST_BUSY)
        else:
            request.lost, request.turned_away = request.lost + 1, 0
            pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2**request.lost) * random.SystemRandom().uniform(0.5, 1)
            request.not_before = time.monotonic() + pause
        if request.lost <= self._terms.retries and request.turned_away < MOST_BUSY:
            self._resting.append(request)
            self._left += 1

    def _refused(self, book: Book, request: Request, error: Refused) -> None:
        """Finds out which input it is that the service refuses; that one is not asked again."""
        if len(request.keys) > 1:
            self._waiting.extendleft(request.part([i]) for i in range(len(request.keys)))
            self._left += len(request.keys)
        else:
            self._give_up(book, self._terms.trouble.refuse(request.keys[0], error))

    def _give_up(self, book: Book, refused: Sequence[bytes]) -> None:
        without = dict.fromkeys(refused, NO_SCORES)
        book.know(str(self._service.identity["name"]), without)
        self._found |= without

    def _settle(self, book: Book, request: Request, entry: Entry, said: Sequence[Reply]) -> bool:
        """Keeps the replies that are usable, if there are some; the other inputs are asked about again."""
        if len(said) != len(request.keys):
            return False
        replies = believed(said, request.sizes)
        usable = {key: reply for key, reply in zip(request.keys, replies, strict=True) if self._terms.usable(reply)}
        if not usable:
            return False
        book.keep(entry, usable, sum(self._terms.price.of(reply.tokens, reply.output_tokens) for reply in replies))
        self._found |= usable
        if any(len(reply.scores) for reply in usable.values()):
            self._give_up(book, self._terms.trouble.answered())
        if rest := [i for i, key in enumerate(request.keys) if key not in usable]:
            for i in rest:  # each by itself: some read only the first of several
                self._again(request.part([i]), None)
        return True
