"""What a status means."""

import pytest

from fedbbpt.errors import BackendError
from fedbbpt.services import RateLimited, RequestFailed, RequestRejected
from fedbbpt.web.http_errors import http_error, is_transient


@pytest.mark.parametrize(
    ("statuses", "kind"),
    [
        ((429, 503), RateLimited),
        ((408, 409, 425, 500, 502, 504, 599), RequestFailed),
        ((400, 403, 404, 413, 422, 501), RequestRejected),
        ((302, 401, 402, 407), BackendError),
    ],
)
def test_what_a_status_means(statuses: tuple[int, ...], kind: type[Exception]) -> None:
    for status in statuses:
        assert type(http_error(status, {}, "said", "message", "")) is kind
        assert is_transient(status) == (kind in (RateLimited, RequestFailed))


@pytest.mark.parametrize(
    ("status", "details", "about_input"),
    [(400, "no such parameter", False), (400, "content_filter", True), (413, "", True), (422, "prompt too long", True)],
)
def test_whether_the_input_is_the_reason(status: int, details: str, about_input: bool) -> None:
    error = http_error(status, {}, "said", "message", details)
    assert isinstance(error, RequestRejected)
    assert (str(error), error.about_input) == ("message", about_input)
