"""How long a service asks to wait."""

import logging
import math
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from functools import lru_cache

MAX_WAIT = 600.0  # seconds, whatever a service asks for
LOG_FROM = 60.0  # seconds
log = logging.getLogger("fedbbpt")


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait, at most `MAX_WAIT`; a long wait is logged. None: the headers do not say, or it is over.

    `retry-after-ms` (milliseconds, as OpenAI sends it) is more exact than `Retry-After` (seconds, or an HTTP date).

    >>> retry_after({"Retry-After": "7"})
    7.0
    >>> retry_after({"retry-after-ms": "250", "Retry-After": "1"})
    0.25
    """
    seconds = _number(headers.get("retry-after-ms", "")) / 1000
    if math.isnan(seconds):
        seconds = _seconds(headers.get("Retry-After", ""))
    if math.isnan(seconds) or seconds <= 0:
        return None
    wait = min(seconds, MAX_WAIT)
    if wait >= LOG_FROM:
        _log_wait(f"{seconds:.10g}", f"{wait:.0f}")
    return wait


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _seconds(text: str) -> float:
    seconds = _number(text)
    if text and math.isnan(seconds):
        try:
            return parsedate_to_datetime(text).timestamp() - time.time()
        except (ValueError, OverflowError):
            return math.nan
    return seconds


@lru_cache(16)
def _log_wait(asked: str, wait: str) -> None:
    log.warning("the service asks to be left alone for %s seconds; it is asked again after %s", asked, wait)
