"""A request: the inputs that are sent together, and which token counts of its answers are plausible."""

import hashlib
import logging
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from fedbbpt.services import ServiceAnswer, TokenEstimate

UNUSABLE = "scores that are no numbers, or not as many as before"  # the error of such answers
MIN_BACKOFF, MAX_BACKOFF = 0.25, 30.0  # seconds before a failed request is sent again
log = logging.getLogger("fedbbpt")


@dataclass(eq=False)
class Request:
    """Inputs that are sent together, and how often that has failed."""

    keys: Sequence[bytes]  # of the answers in the cache
    encoded: Sequence[str]
    estimates: Sequence[TokenEstimate]
    max_cost: int  # nanodollars
    failures: int = 0
    throttled: int = 0  # times in a row
    not_before: float = 0.0  # seconds of the monotonic clock

    def __post_init__(self) -> None:
        self.tokens = sum(one.input_tokens + one.output_tokens for one in self.estimates)  # about
        self.idempotency_key = hashlib.blake2b(b"".join(self.keys), digest_size=20).hexdigest()

    def back_off(self) -> None:
        """The request failed: it waits, twice as long each time, with jitter."""
        self.failures, self.throttled = self.failures + 1, 0
        wait = min(MAX_BACKOFF, MIN_BACKOFF * 2**self.failures) * random.SystemRandom().uniform(0.5, 1)
        self.not_before = time.monotonic() + wait

    def subset(self, rows: Sequence[int]) -> "Request":
        """Some of its inputs as a request of their own, which may cost as much as all of them."""
        keys, encoded = [self.keys[i] for i in rows], [self.encoded[i] for i in rows]
        return Request(keys, encoded, [self.estimates[i] for i in rows], self.max_cost, self.failures)


def with_plausible_tokens(
    answers: Sequence[ServiceAnswer], estimates: Sequence[TokenEstimate]
) -> Sequence[ServiceAnswer]:
    """The answers of a request; where their tokens are negative or above the maximum, with what was reserved."""
    output = sum(one.output_tokens for one in answers)
    tokens = sum(one.tokens for one in answers) - output
    max_tokens, max_output = (
        sum(one.max_input_tokens for one in estimates),
        sum(one.output_tokens for one in estimates),
    )
    if 0 <= tokens <= max_tokens and 0 <= output <= max_output:
        return answers
    if tokens > max_tokens or output > max_output:
        _warn()
    return [
        one._replace(tokens=size.max_input_tokens + size.output_tokens, output_tokens=size.output_tokens)
        for one, size in zip(answers, estimates, strict=True)
    ]


@lru_cache(1)
def _warn() -> None:
    log.warning(
        "the service reports more tokens for an answer than it can take; the maximum is counted, so it may charge more "
        "than is shown"
    )
