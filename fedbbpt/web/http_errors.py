"""What HTTP error statuses mean: one mapping for every service."""

import re
from collections.abc import Mapping

from fedbbpt.errors import BackendError
from fedbbpt.services import RateLimited, RequestFailed, RequestRejected
from fedbbpt.web.retry_after import retry_after

BUSY = (429, 503)
AWAY = (408, 502, 504)  # a server or a gateway that timed out
SAME_KEY = (409, 425)  # another request with the same idempotency key is in flight
NOT_IMPLEMENTED, TOO_LARGE = 501, 413
ABOUT_ACCOUNT = (401, 402, 407)  # no key, or no money
# How services say that the input is the reason: its content or its length.
ABOUT_INPUT = re.compile(
    r"content.?(filter|policy|management|moderation)|responsible.?ai|moderation|flagged|safety|data.?inspection"
    r"|invalid.?prompt|context.?(length|size|window)|too.?long|above.?max.?length|too many (input )?tokens",
    re.IGNORECASE,
)


def is_transient(status: int) -> bool:
    """Whether the same request may succeed later.

    >>> [is_transient(status) for status in (429, 500, 501, 404)]
    [True, True, False, False]
    """
    return status in BUSY + AWAY + SAME_KEY or (status >= 500 and status != NOT_IMPLEMENTED)


def http_error(
    status: int, headers: Mapping[str, str], said: str, message: str, details: str
) -> RateLimited | RequestFailed | BackendError:
    """The error that a response with an error status stands for, as `Service.send` raises it.

    Args:
        status: of HTTP.
        headers: looked up without regard to case.
        said: "HTTP 503: …", the status with the service's own words, for errors that are retried.
        message: a sentence that says what to do, for errors that no retry mends.
        details: the service's words and codes, which tell whether the input is the reason.

    >>> http_error(429, {"Retry-After": "7"}, "HTTP 429: slow down", "", "").retry_after
    7.0
    >>> http_error(400, {}, "HTTP 400: flagged", "it refuses: flagged", "flagged").about_input
    True
    """
    if status in BUSY:
        return RateLimited(retry_after(headers), said)
    if is_transient(status):
        return RequestFailed(said)
    if (400 <= status < 500 or status == NOT_IMPLEMENTED) and status not in ABOUT_ACCOUNT:
        return RequestRejected(message, status == TOO_LARGE or ABOUT_INPUT.search(details) is not None)
    return BackendError(message)
