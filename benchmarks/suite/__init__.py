"""The suite: tasks on public data sets. One entry point registers all of `TASKS` by name."""

from fedbbpt_benchmarks.suite.images import IMAGES
from fedbbpt_benchmarks.suite.papers import PAPERS
from fedbbpt_benchmarks.suite.task import SuiteTask, TaskSpec, task_class
from fedbbpt_benchmarks.suite.texts import TEXTS

SPECS: dict[str, TaskSpec] = {**IMAGES, **TEXTS, **PAPERS}
TASKS: dict[str, type[SuiteTask]] = {name: task_class(name, SPECS) for name in SPECS}
