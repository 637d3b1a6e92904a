"""How long is waited."""

import logging

import pytest

from fedbbpt.web import retry_after as module
from fedbbpt.web.retry_after import MAX_WAIT, retry_after


@pytest.mark.parametrize("value", ["10000000000", "1e300", "inf", "Fri, 31 Dec 9999 23:59:59 GMT", "1000000000"])
def test_nobody_waits_for_ever_and_a_long_wait_is_logged(value: str, caplog: pytest.LogCaptureFixture) -> None:
    module._log_wait.cache_clear()
    with caplog.at_level(logging.WARNING):
        assert retry_after({"Retry-After": value}) == MAX_WAIT
    assert f"asked again after {MAX_WAIT:.0f}" in caplog.text


@pytest.mark.parametrize(
    "value",
    ["", "soon", "-5", "0", "nan", "-inf", "Thu, 01 Jan 1970 00:00:00 GMT", "Fri, 31 Dec 99999 23:59:59 GMT", "\x00"],
)
def test_what_says_nothing_is_as_if_it_had_not_been_said(value: str) -> None:
    assert retry_after({"Retry-After": value}) is None
    assert retry_after({"retry-after-ms": value}) is None


@pytest.mark.parametrize(("value", "seconds"), [("1500", 1.5), ("20.5", 0.0205), ("soon", 3.0), ("nan", 3.0)])
def test_milliseconds_come_first(value: str, seconds: float) -> None:
    assert retry_after({"retry-after-ms": value, "Retry-After": "3"}) == pytest.approx(seconds)
