"""The suite: a table of real data sets. One entry point registers `TASKS`, so each row is a task by its name."""

from fedbbpt_benchmarks.suite.images import IMAGES
from fedbbpt_benchmarks.suite.papers import PAPERS
from fedbbpt_benchmarks.suite.row import Row, SuiteTask, task_class
from fedbbpt_benchmarks.suite.texts import TEXTS

ROWS: dict[str, Row] = {**IMAGES, **TEXTS, **PAPERS}
TASKS: dict[str, type[SuiteTask]] = {name: task_class(name, ROWS) for name in ROWS}
