"""Differences on the same examples: McNemar's exact test, and an interval."""

import pytest
from scipy.stats import binomtest

from fedbbpt.run.report.intervals import paired_difference


@pytest.mark.parametrize(("won", "lost"), [(0, 0), (1, 0), (0, 1), (3, 3), (9, 1), (40, 70), (500, 430)])
def test_the_test_is_the_exact_binomial_one(won: int, lost: int) -> None:
    found = paired_difference({"examples": 1000, "won": won, "lost": lost})
    expected = binomtest(won, won + lost).pvalue if won + lost else 1
    assert found.p == pytest.approx(expected, rel=1e-9)
    assert found.gain == pytest.approx((won - lost) / 1000)
    assert found.low < found.gain < found.high
    assert found.is_clear == (expected < 0.05)


def test_the_interval_stays_within_bounds_and_narrows() -> None:
    small, large = (paired_difference({"examples": n, "won": n // 4, "lost": n // 8}) for n in (16, 1600))
    assert large.high - large.low < (small.high - small.low) / 5
    assert paired_difference({"examples": 2, "won": 2, "lost": 0}).high <= 1
    assert paired_difference({"examples": 2, "won": 0, "lost": 2}).low >= -1


def test_without_examples_there_is_no_difference() -> None:
    assert paired_difference(None) is None
    assert paired_difference({"examples": 0, "won": 0, "lost": 0}) is None
