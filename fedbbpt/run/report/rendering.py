"""Makes a page from a template: one HTML file that fetches nothing."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from fedbbpt.run.atomic_files import write_atomic
from fedbbpt.run.formatting import format_bytes, format_p, format_percent, format_points

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
    loader = PackageLoader("fedbbpt.run.report")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= FILTERS
    write_atomic(path, environment.get_template(template).render(**shown).encode())
