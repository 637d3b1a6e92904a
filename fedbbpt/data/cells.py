"""Reads cells of tables as texts or labels; refuses everything else with a reason that names the value."""

import math
import re
from collections import defaultdict
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from fedbbpt.data.texts import as_seen, tidied
from fedbbpt.printing import short_repr

LONGEST_LABEL = 1000  # characters
NO_LABELS = frozenset({"nan", "NaN", "NAN", "<NA>", "NaT"})  # as which programs write a missing label
DOUBTFUL = frozenset(
    {"na", "n/a", "#n/a", "nil", "none", "null", "-", "?"}
)  # class names that may mean a missing label
BLANKS = "".join(filter(str.isspace, map(chr, range(0x3001)))) + "\ufeff\u200b"  # also those of zero width
WHOLE = re.compile(r"([+-]?\d+)\.0*")
SHOWN = 3  # examples in a remark


class Missing(ValueError):  # noqa: N818 - reads as what it says
    """The cell is empty."""


def text(value: Any) -> str:
    """Reads a cell as a text (see `tidied`).

    Raises:
        Missing: the cell is empty.
        ValueError: it holds no text; the message completes "the column holds ".
    """
    if not isinstance(value, str):
        raise _missing(value) or ValueError(f"{short_repr(value)}, and a text is wanted")
    if not value.strip(BLANKS):
        raise Missing
    if "\0" in value:
        raise ValueError(f"a zero character: {short_repr(value)}; remove it")
    return tidied(value)


def label(value: Any) -> str:
    """Reads a cell as the name of a class, group or domain: strips blanks, writes whole numbers without a point.

    >>> label(" spam "), label(2.0), label("2.00")
    ('spam', '2', '2')

    Raises:
        Missing: the cell is empty or NaN.
        ValueError: it holds neither a word nor a number; the message completes "the column holds ".
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        raise _missing(value) or ValueError(f"{short_repr(value)}, and a word or a number is wanted")
    if isinstance(value, float) and not math.isfinite(value):
        raise _missing(value) or ValueError(f"{short_repr(value)}, and a word or a finite number is wanted")
    written = value if isinstance(value, str) else str(value)
    if "\0" in written:
        raise ValueError(f"a zero character: {short_repr(written)}; remove it")
    name = written.strip(BLANKS)
    if not name or name in NO_LABELS:
        raise Missing
    if len(name) > LONGEST_LABEL:
        raise ValueError(f"{len(name):,} characters, and a word or a number is wanted: {short_repr(name)}")
    whole = WHOLE.fullmatch(name)
    return (whole[1] if whole[1] != "-0" else "0") if whole else name


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """The distinct names, sorted; by value if all are numbers.

    >>> in_order(["10", "9", "10"]), in_order(["b", "a"])
    (('9', '10'), ('a', 'b'))
    """
    known = sorted(set(names))
    return tuple(sorted(known, key=_value) if all(name.isdecimal() for name in known) else known)


def doubts(names: Iterable[str]) -> list[str]:
    """Remarks on class names that look alike, or that may mean a missing label."""
    alike = defaultdict(list)
    for name in names:
        alike[_looks(name)].append(name)
    looks = [
        f"the classes {', '.join(map(repr, group))} differ, but look alike; if they are one, write them alike"
        for group in alike.values()
        if len(group) > 1
    ]
    empty = [
        f"the class {name!r} counts as one like the others; if it means that a label is missing, remove its examples"
        for look, group in alike.items()
        for name in group
        if look in DOUBTFUL
    ]
    more = [f"{len(looks) - SHOWN:,} more groups of classes look alike"] if len(looks) > SHOWN else []
    return looks[:SHOWN] + more + empty


def _missing(value: Any) -> Missing | None:
    return Missing() if value is None or value != value else None  # NaN is not equal to itself


def _value(name: str) -> tuple[int, str]:
    """A key that sorts strings of digits by value; they may be too long for `int`."""
    digits = name.lstrip("0")
    return len(digits), digits


def _looks(name: str) -> str | float:
    """Equal for names that look alike (see `as_seen`) or are the same number."""
    look = as_seen(name)
    try:
        return float(look)
    except ValueError:
        return look
