"""Pages, cards and files from Jinja templates, which lie in the package that fills them in."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

Functions = Mapping[str, Callable[..., Any]]
NONE: Functions = MappingProxyType({})


def render(package: str, name: str, values: Mapping[str, Any], *, folder: str = "", filters: Functions = NONE) -> str:
    """Fills in the template `name` of a package, such as `card.md.j2`.

    Lines with nothing but a statement leave no trace. In HTML, values are escaped.

    Args:
        package: the package that has the template.
        name: its file.
        values: by name; functions, too.
        folder: of the package's templates, if they have one; a template includes others of it by name.
        filters: of this package, by name.

    Raises:
        jinja2.UndefinedError: the template has a name without a value.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined  # most commands do without

    environment = Environment(
        loader=PackageLoader(package, folder),
        autoescape=".html" in name,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= filters
    return environment.get_template(name).render(values)
