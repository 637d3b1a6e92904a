"""Several options of a command as one decorator."""

from collections.abc import Callable
from typing import Any

Decorator = Callable[[Any], Any]


def options(*each: Decorator) -> Decorator:
    """Adds options to a command; its help lists them in this order."""

    def add(command: Any) -> Any:
        for option in reversed(each):
            command = option(command)
        return command

    return add
