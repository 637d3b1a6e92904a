"""Makes a page from a template: one HTML file that fetches nothing."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from fedbbpt.run.atomic_files import write_atomic
from fedbbpt.run.formatting import format_bytes, format_p, format_percent, format_points
from fedbbpt.templates import render

FILTERS: dict[str, Callable[..., str]] = {
    "percent": format_percent,
    "points": format_points,
    "p_value": format_p,
    "size": format_bytes,
    "count": "{:,}".format,
}


def write_page(path: Path, template: str, **shown: Any) -> None:
    """Writes the page of a template of `templates/`.

    Raises:
        RunError: it cannot be written.
    """
    page = render("fedbbpt.run.report", template, shown, folder="templates", filters=FILTERS)
    write_atomic(path, page.encode())
