"""The published accuracies of SFPrompt and of a linear classifier beside those of benches."""

import math
import statistics
from collections.abc import Sequence
from pathlib import Path

from fedbbpt.errors import RunError
from fedbbpt.run.formatting import DASH
from fedbbpt_benchmarks.bench import results
from fedbbpt_benchmarks.bench.plan import Bench, Cell
from fedbbpt_benchmarks.experiments.costs.tables import table

LINEAR, PROMPT = "sfl-linear", "sfprompt"
# Cao, Zhu & Gong 2024 (arXiv 2407.17533), appendix: percent of SFL+Linear and of SFPrompt; non-IID is α = .1.
PUBLISHED = {
    ("Caltech101", math.inf): (92.62, 94.04),
    ("Caltech101", 0.1): (90.43, 92.18),
    ("Food101", math.inf): (79.85, 85.31),
    ("Food101", 0.1): (75.53, 80.11),
}


def accuracies(folders: Sequence[Path]) -> str:
    """A table of percent, with mean and sample deviation over seeds of the benches in the folders.

    Raises:
        RunError: a folder holds no bench, or none that has finished both methods on a task.
    """
    rows = [
        [f"{data}, published", _clients(alpha), f"{linear:.2f}", f"{prompt:.2f}", f"{prompt - linear:+.2f}"]
        for (data, alpha), (linear, prompt) in PUBLISHED.items()
    ]
    return table(["data", "clients", "SFL+Linear", "SFPrompt", "its gain"], rows + [_own(f) for f in folders])


def _own(folder: Path) -> list[str]:
    """The mean over the tasks that both methods have finished with every seed."""
    bench = Bench.load(folder)
    reached = {
        (cell.method, cell.task, cell.seed): 100 * row["accuracy"]
        for cell in bench.cells
        if (row := results.read(folder, cell)) and row["error"] is None
    }
    pairs = [(method, seed) for method in (LINEAR, PROMPT) for seed in bench.seeds]
    tasks = [task for task in bench.tasks if all((method, task, seed) in reached for method, seed in pairs)]
    if not tasks:
        raise RunError(f"{folder} has no task that {LINEAR} and {PROMPT} have finished with all of its seeds")
    linear, prompt = (
        [statistics.fmean(reached[method, task, seed] for task in tasks) for seed in bench.seeds]
        for method in (LINEAR, PROMPT)
    )
    gains = [after - before for before, after in zip(linear, prompt, strict=True)]
    data = bench.config(Cell(tasks[0], PROMPT, bench.seeds[0])).data
    which = f"ours; tasks: {len(tasks)}, examples a class: {data.shots_per_class}, seeds: {len(gains)}"
    return [which, _clients(data.dirichlet_alpha), _spread(linear, ""), _spread(prompt, ""), _spread(gains, "+")]


def _clients(alpha: float | None) -> str:
    if alpha is None:
        return DASH  # each task's own
    return "IID" if math.isinf(alpha) else f"α = {alpha:g}"


def _spread(values: Sequence[float], sign: str) -> str:
    mean = f"{statistics.fmean(values):{sign}.1f}"
    return f"{mean} ± {statistics.stdev(values):.1f}" if values[1:] else mean
