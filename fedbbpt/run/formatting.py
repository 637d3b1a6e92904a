"""Numbers as people read them."""

DASH = "–"


def format_percent(share: float | None) -> str:
    """A share with one decimal; a dash where there is none."""
    return DASH if share is None else f"{100 * share:.1f} %"


def format_bytes(count: float) -> str:
    """Bytes in the largest fitting decimal unit."""
    amount, unit = float(count), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if amount >= 999.5:
            amount, unit = amount / 1000, larger
    return f"{amount:.3g} {unit}"


def format_duration(seconds: float) -> str:
    """Seconds, minutes from two of them on, hours from two of them on."""
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:,.1f} h"


def format_cost(dollars: float | None) -> str:
    """What was or will be charged; None where no price is known."""
    if dollars is None:
        return "price unknown"
    return f"${dollars:.4f}" if dollars else "free of charge"
