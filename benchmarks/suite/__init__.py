"""The suite: a table of real data sets, each row of which is a task by its name."""

from typing import Any

from fedbbpt_benchmarks.suite.images import IMAGES
from fedbbpt_benchmarks.suite.papers import PAPERS
from fedbbpt_benchmarks.suite.row import Row, SuiteTask, task_class
from fedbbpt_benchmarks.suite.texts import TEXTS

ROWS: dict[str, Row] = {**IMAGES, **TEXTS, **PAPERS}
TASKS: dict[str, type[SuiteTask]] = {name: task_class(name, ROWS) for name in ROWS}


def __getattr__(name: str) -> Any:
    """A task's class as an attribute, which is how entry points name it: hyphens become underscores there."""
    if (known := name.replace("_", "-")) in TASKS:
        return TASKS[known]
    raise AttributeError(name)
