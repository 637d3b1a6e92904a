"""Progress of a bench: a live table in a terminal, else one line per run."""

import statistics
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.table import Table

from fedbbpt_benchmarks.bench import leaderboard, results
from fedbbpt_benchmarks.bench.plan import Bench, Cell
from fedbbpt_benchmarks.bench.runner import finished


class BenchProgress:
    """Called after every run; rewrites `results.jsonl` and the leaderboard each time."""

    def __init__(self, bench: Bench, out: Path) -> None:
        self._bench, self._out = bench, out
        self._console = Console(highlight=False, soft_wrap=True)
        self._done = sum(finished(out, cell) for cell in bench.cells)
        self._rows = {cell: results.read(out, cell) for cell in bench.cells}
        self._live = Live(console=self._console, auto_refresh=False) if self._console.is_terminal else None

    def __enter__(self) -> "BenchProgress":
        cells = len(self._bench.cells)
        self._console.print(f"{cells} runs in {self._out}" + (f", {self._done} done already" if self._done else ""))
        if self._live:
            self._live.start()
            self._live.update(self._table(), refresh=True)
        return self

    def __exit__(self, *error: object) -> None:
        if self._live:
            self._live.stop()

    def __call__(self, cell: Cell, error: str | None) -> None:
        """See `runner.OnCellDone`."""
        self._done += 1
        row = self._rows[cell] = results.read(self._out, cell)
        rows = [known for known in self._rows.values() if known]
        results.write(self._out, rows)
        leaderboard.write(self._bench, self._out, rows)
        if self._live:
            self._live.update(self._table(), refresh=True)
            return
        trouble = error if error is not None or row is None else row["error"]
        text = f"failed: {trouble}"
        if row and trouble is None:
            text = f"{row['accuracy']:.3f}  {row['queries']:,} queries  {row['seconds']:.0f} s"
        where = f"{self._done:>4}/{len(self._bench.cells)}  {cell.task}  {cell.method}  seed {cell.seed}"
        self._console.print(f"{where}  {text}", markup=False)

    def _table(self) -> Table:
        """The mean accuracies so far."""
        table = Table("task", *self._bench.methods, caption=f"{self._done} of {len(self._bench.cells)} runs")
        for task in self._bench.tasks:
            cells = []
            for method in self._bench.methods:
                own = [row for c, row in self._rows.items() if row and (c.task, c.method) == (task, method)]
                reached = [row["accuracy"] for row in own if row["error"] is None]
                failed = "failed" if len(reached) < len(own) else ""
                cells.append(" ".join([f"{statistics.fmean(reached):.3f}" if reached else "", failed]).strip())
            table.add_row(task, *cells)
        return table
