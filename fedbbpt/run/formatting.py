"""Formats numbers for people."""

DASH = "–"


def format_percent(share: float | None) -> str:
    """A share in percent with one decimal; a dash for None.

    >>> format_percent(0.9312)
    '93.1 %'
    """
    return DASH if share is None else f"{100 * share:.1f} %"


def format_bytes(count: float) -> str:
    """A number of bytes with three digits, in the largest decimal unit that fits.

    >>> format_bytes(59_032)
    '59 kB'
    """
    amount, unit = float(count), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if amount >= 999.5:
            amount, unit = amount / 1000, larger
    return f"{amount:.3g} {unit}"


def format_duration(seconds: float) -> str:
    """A duration in seconds, in minutes from 2 min and in hours from 2 h.

    >>> format_duration(90), format_duration(150), format_duration(7200)
    ('90 s', '2.5 min', '2.0 h')
    """
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:,.1f} h"


def format_cost(dollars: float | None) -> str:
    """An amount of dollars; None means that no price is known."""
    if dollars is None:
        return "price unknown"
    return f"${dollars:.4f}" if dollars else "free of charge"
