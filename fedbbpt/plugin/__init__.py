"""Writes a package for components of one's own, `fedbbpt init-plugin`: code, tests and entry points."""

import keyword
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from fedbbpt import registry
from fedbbpt.errors import ConfigError
from fedbbpt.templates import render

NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


def write_plugin(name: str, kinds: Sequence[str], folder: Path) -> list[Path]:
    """Writes the package into a new folder.

    Args:
        name: of the distribution, and of each component in it; lower case, with hyphens.
        kinds: of `backend`, `task`, `prompt` and `optimizer`.
        folder: that does not exist yet.

    Returns:
        The files that were written.

    Raises:
        ConfigError: the name cannot be that of a package, or a component has it.
    """
    module = _module(name)
    for kind in kinds:
        if name in registry.names(f"{kind}s"):
            raise ConfigError(f"the name of {kind} {name!r} is taken; choose another one")
    targets = {
        "pyproject.toml.j2": Path("pyproject.toml"),
        "README.md.j2": Path("README.md"),
        "init.py.j2": Path("src", module, "__init__.py"),
        **{f"{kind}.py.j2": Path("src", module, f"{kind}.py") for kind in kinds},
        **{f"test_{kind}.py.j2": Path("tests", f"test_{kind}.py") for kind in kinds},
    }
    class_name = "".join(part.capitalize() for part in name.split("-"))
    values = {"name": name, "module": module, "class_name": class_name, "kinds": kinds}
    for template, target in targets.items():
        path = folder / target
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(render("fedbbpt.plugin", template, values, folder="templates") + "\n", encoding="utf-8")
    return [folder / target for target in targets.values()]


def _module(name: str) -> str:
    """The name by which Python imports the package."""
    if not NAME.fullmatch(name):
        raise ConfigError(f"the name of a package is lower-case letters, digits and single hyphens, got {name!r}")
    module = name.replace("-", "_")
    if keyword.iskeyword(module) or module in sys.stdlib_module_names or module.startswith("fedbbpt"):
        raise ConfigError(f"{name!r} is a name of Python or of fedbbpt; choose another one")
    return module
