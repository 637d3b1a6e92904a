"""JMESPath that keeps nulls in lists, so that the nth value found belongs to the nth input."""

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
    """Compiles a path into a function of parsed JSON that returns what it finds, or None.

    Raises:
        ConfigError: `path` is not a JMESPath.

    >>> finder("results[*].score")({"results": [{"score": 1}, {}]})
    [1, None]
    """
    try:
        parsed = jmespath.compile(path).parsed
    except JMESPathError as e:
        raise ConfigError(f"{path!r} is not a JMESPath (https://jmespath.org): {str(e).splitlines()[0]}") from e

    def find(answer: Any) -> Any:
        try:
            return _InPlace().visit(parsed, answer)
        except JMESPathError:  # a function in the path, applied to another type
            return None

    return find
