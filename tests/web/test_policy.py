"""How long is waited, and what a status means."""

import logging

import pytest

from fedbbpt.services import RateLimited, RequestFailed
from fedbbpt.web.policy import LONGEST_WAIT, mended_by_waiting, seconds_of


@pytest.mark.parametrize("told", ["10000000000", "1e300", "inf", "Fri, 31 Dec 9999 23:59:59 GMT", "1000000000"])
def test_nobody_waits_for_ever_and_a_long_wait_is_said(told: str, caplog: pytest.LogCaptureFixture) -> None:
    from fedbbpt.web import policy

    policy._say.cache_clear()
    with caplog.at_level(logging.WARNING):
        assert seconds_of(told) == LONGEST_WAIT
    assert f"asked again after {LONGEST_WAIT:.0f}" in caplog.text


@pytest.mark.parametrize(
    "told",
    ["", "soon", "-5", "0", "nan", "-inf", "Thu, 01 Jan 1970 00:00:00 GMT", "Fri, 31 Dec 99999 23:59:59 GMT", "\x00"],
)
def test_what_says_nothing_is_as_if_it_had_not_been_said(told: str) -> None:
    assert seconds_of(told) is None


def test_what_a_status_means() -> None:
    assert all(isinstance(mended_by_waiting(status, "", ""), RateLimited) for status in (429, 503))
    assert all(
        isinstance(mended_by_waiting(status, "", ""), RequestFailed) for status in (408, 409, 425, 500, 502, 504, 599)
    )
    assert not any(mended_by_waiting(status, "", "") for status in (200, 302, 400, 401, 404, 422, 501))
