"""Shows the examples in docstrings as code: a paragraph that begins with `>>>` becomes a fenced block."""

import re

import griffe

EXAMPLE = re.compile(r"(?m)^>>> .*(?:\n(?!\s*$).+)*")


class Doctests(griffe.Extension):
    """Changes docstrings while they are read."""

    def on_instance(self, *, obj: griffe.Object, **kwargs: object) -> None:
        """See `griffe.Extension`."""
        if obj.docstring is not None:
            obj.docstring.value = EXAMPLE.sub(r"```python\n\g<0>\n```", obj.docstring.value)
