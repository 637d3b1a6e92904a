"""What a cell of a table may be: a text or a label. Everything else is refused, with a reason that names the value."""

import math
import re
from collections import defaultdict
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from fedbbpt.data.texts import as_seen, tidied
from fedbbpt.printing import short_repr

LONGEST_LABEL = 1000  # characters
NO_LABELS = frozenset({"nan", "NaN", "NAN", "<NA>", "NaT"})  # how programs write that there is none
DOUBTFUL = frozenset({"na", "n/a", "#n/a", "nil", "none", "null", "-", "?"})  # names of classes, or of none
BLANKS = "".join(filter(str.isspace, map(chr, range(0x3001)))) + "\ufeff\u200b"  # also those without a width
WHOLE = re.compile(r"([+-]?\d+)\.0*")
SHOWN = 3  # examples in a remark


class Missing(ValueError):  # noqa: N818 - reads as what it says
    """The cell is empty."""


def text(value: Any) -> str:
    """A cell as a text (see `tidied`).

    Raises:
        Missing: there is none.
        ValueError: it is something else; the message goes on after "the column holds ".
    """
    if not isinstance(value, str):
        raise _missing(value) or ValueError(f"{short_repr(value)}, and a text is wanted")
    if not value.strip(BLANKS):
        raise Missing
    if "\0" in value:
        raise ValueError(f"a zero character: {short_repr(value)}; remove it")
    return tidied(value)


def label(value: Any) -> str:
    """A cell as the name of a class, or of a group: without blanks around it, and whole numbers without a point.

    Raises:
        ValueError: as of `text`.
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
    """Each name once; numbers by their value."""
    known = sorted(set(names))
    return tuple(sorted(known, key=_value) if all(name.isdecimal() for name in known) else known)


def doubts(names: Iterable[str]) -> list[str]:
    """What a person should look at: names of classes that look alike, or as if there was none."""
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
    """Orders digits by the number that they write, of any length."""
    digits = name.lstrip("0")
    return len(digits), digits


def _looks(name: str) -> str | float:
    """The same for names that people take for the same: as `as_seen`, or by their value."""
    look = as_seen(name)
    try:
        return float(look)
    except ValueError:
        return look
