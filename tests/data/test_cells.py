"""Cells of tables: texts, labels, and what is neither."""

import datetime
import math
from decimal import Decimal
from typing import Any

import pytest

from fedbbpt.data import cells


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("pos", "pos"),
        (" pos\t\n", "pos"),
        ("\ufeffpos\u200b\u00a0", "pos"),
        ("two words", "two words"),
        (1, "1"),
        (1.0, "1"),
        ("1.0", "1"),
        (Decimal("1.00"), "1"),
        (-0.0, "0"),
        (0.5, "0.5"),
        ("1.10", "1.10"),  # a version, perhaps
        ("007", "007"),
        (10**300, "1" + "0" * 300),
        ("none", "none"),
    ],
)
def test_labels(value: Any, name: str) -> None:
    assert cells.label(value) == name


@pytest.mark.parametrize("value", [None, math.nan, Decimal("NaN"), "", " \t", "\u200b", "nan", "NaN", "<NA>"])
def test_no_label(value: Any) -> None:
    with pytest.raises(cells.Missing):
        cells.label(value)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ([1], r"\[1\], and a word or a number is wanted"),
        ({"a": 1}, r"\{'a': 1\}, and a word"),
        (True, "True, and a word"),
        (b"pos", "b'pos', and a word"),
        (datetime.date(2026, 1, 2), "2026, 1, 2"),
        (math.inf, "inf, and .* a finite number"),
        ("a\0b", "a zero character"),
        ("9" * 5000, "5,000 characters, and a word"),
    ],
)
def test_what_is_no_label(value: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        cells.label(value)


def test_texts() -> None:
    assert cells.text("\ufeff a  text\r\nof two lines\r\n") == " a  text\nof two lines"


@pytest.mark.parametrize("value", [None, math.nan, "", "\r\n", " \ufeff"])
def test_no_text(value: Any) -> None:
    with pytest.raises(cells.Missing):
        cells.text(value)


@pytest.mark.parametrize("value", [5, True, ["a"], {"a": "b"}, b"a", "a\0b"])
def test_what_is_no_text(value: Any) -> None:
    with pytest.raises(ValueError, match=r"and a text is wanted|zero character"):
        cells.text(value)


def test_names_in_order_do_not_depend_on_the_order_of_a_set() -> None:
    assert cells.in_order(["10", "9", "01", "1", "9", "0"]) == ("0", "01", "1", "9", "10")
    assert cells.in_order(["b", "10", "9"]) == ("10", "9", "b")
    assert cells.in_order(["9" * 5000, "8"]) == ("8", "9" * 5000)


def test_doubts_are_said() -> None:
    assert cells.doubts(["pos", "neg", "1", "2"]) == []
    (case,) = cells.doubts(["Pos", "neg", "pos"])
    assert "'Pos', 'pos' differ, but look alike" in case
    assert len(cells.doubts(["é", "e\u0301"])) == 1
    assert len(cells.doubts(["po\u200bs", "pos"])) == 1
    assert len(cells.doubts(["01", "1", "0.50", "0.5"])) == 2
    (empty,) = cells.doubts(["None", "pos"])
    assert "'None'" in empty
    assert "missing" in empty
    many = cells.doubts([name for i in range(9) for name in (f"a{i}", f"A{i}")])
    assert many[3] == "6 more groups of classes look alike"
