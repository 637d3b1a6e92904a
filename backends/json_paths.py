"""JMESPath that leaves what is null in its place, so that the nth thing found belongs to the nth input."""

from collections.abc import Callable
from typing import Any

import jmespath
from jmespath.exceptions import JMESPathError
from jmespath.visitor import TreeInterpreter

from fedbbpt.errors import ConfigError


class _InPlace(TreeInterpreter):
    def visit_projection(self, node: Any, value: Any) -> Any:
        elements, path = node["children"]
        found = self.visit(elements, value)
        return [self.visit(path, element) for element in found] if isinstance(found, list) else None


def finder(path: str) -> Callable[[Any], Any]:
    """What a path finds in parsed JSON; None for nothing.

    Raises:
        ConfigError: it is no path.
    """
    try:
        parsed = jmespath.compile(path).parsed
    except JMESPathError as e:
        raise ConfigError(f"{path!r} is no JMESPath (https://jmespath.org): {str(e).splitlines()[0]}") from e

    def find(answer: Any) -> Any:
        try:
            return _InPlace().visit(parsed, answer)
        except JMESPathError:  # a function in the path, on what it is not made for
            return None

    return find
