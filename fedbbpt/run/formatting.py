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


def format_count(count: int) -> str:
    """A number that has little room, in thousands or millions from 10,000 or 10 million.

    >>> format_count(9_999), format_count(46_500), format_count(12_300_000)
    ('9,999', '46k', '12M')
    """
    return f"{count:,}" if count < 10_000 else f"{count / 1e3:.0f}k" if count < 10_000_000 else f"{count / 1e6:.0f}M"


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


def format_points(share: float) -> str:
    """A difference of two shares in percentage points, with its sign.

    >>> format_points(0.0312), format_points(-0.5)
    ('+3.1', '−50.0')
    """
    return f"{100 * share:+.1f}".replace("-", "−")


def format_p(p: float) -> str:
    """The probability of a test.

    >>> format_p(0.0421), format_p(1e-9)
    ('p = 0.042', 'p < 0.001')
    """
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"
