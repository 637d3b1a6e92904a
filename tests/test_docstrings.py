"""The examples in docstrings run, and give what they say."""

import doctest
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

import fedbbpt
import fedbbpt_backends


def modules(package: ModuleType) -> list[str]:
    """Those of a package whose docstrings hold an example."""
    (root,) = map(Path, package.__path__)
    paths = [path for path in sorted(root.rglob("*.py")) if ">>> " in path.read_text(encoding="utf-8")]
    parts = [(package.__name__, *path.relative_to(root).with_suffix("").parts) for path in paths]
    return [".".join(part).removesuffix(".__init__") for part in parts]


@pytest.mark.parametrize("name", [*modules(fedbbpt), *modules(fedbbpt_backends)])
def test_examples_in_docstrings_give_what_they_say(name: str) -> None:
    found = doctest.testmod(import_module(name))
    assert found.attempted > 0
    assert found.failed == 0
