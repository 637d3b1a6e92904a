"""How long a service may take, how much it may say, and what its refusals mean."""

import logging
import math
import time
from email.utils import parsedate_to_datetime
from functools import lru_cache

from fedbbpt.services import RateLimited, RequestFailed

TO_CONNECT = 10.0  # seconds
AS_LONG_AGAIN = 2  # times the timeout: how long a whole reply may take, each byte of which came in time
MOST_BYTES = 32 * 2**20  # of a reply, unpacked
LONGEST_WAIT = 600.0  # seconds, whatever a service asks for
WORTH_SAYING = 60.0  # seconds
BUSY = (429, 503)
AWAY = (408, 502, 504)  # a server or a gateway that lost patience
NOT_DONE = 501  # not implemented
ASKERS = (401, 402, 407)  # who has no key, or no money
SAME_KEY = (409, 425)  # another request with the same idempotency key is under way

log = logging.getLogger("fedbbpt")


def seconds_of(retry_after: str) -> float | None:
    """Seconds to wait, from a number of them or an HTTP date, at most `LONGEST_WAIT`; a long wait is said.

    None for anything else, and for what is over already: as if nothing had been said.
    """
    try:
        seconds = float(retry_after)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(retry_after).timestamp() - time.time()
        except (ValueError, OverflowError):
            return None
    if math.isnan(seconds) or seconds <= 0:
        return None
    wait = min(seconds, LONGEST_WAIT)
    if wait >= WORTH_SAYING:
        _say(f"{seconds:.10g}", f"{wait:.0f}")
    return wait


def mended_by_waiting(status: int, retry_after: str, said: str) -> RateLimited | RequestFailed | None:
    """What an HTTP status means that is no answer, if asking again may bring one; `said` comes with it."""
    sentence = f"HTTP {status}: {said}" if said else f"HTTP {status}"
    if status in BUSY:
        return RateLimited(seconds_of(retry_after), sentence)
    if status in AWAY + SAME_KEY or (status >= 500 and status != NOT_DONE):
        return RequestFailed(sentence)
    return None


def refuses(status: int) -> bool:
    """Whether an HTTP status is about what is asked, and not about who asks."""
    return (400 <= status < 500 or status == NOT_DONE) and status not in ASKERS


@lru_cache(16)
def _say(asked: str, wait: str) -> None:
    log.warning("the service asks to be left alone for %s seconds; it is asked again after %s", asked, wait)
