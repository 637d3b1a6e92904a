"""Runs the cells that are not finished; records failures and continues with the other cells."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from pathlib import Path

from fedbbpt.errors import FedbbptError, RunError
from fedbbpt.printing import one_line
from fedbbpt.run import train
from fedbbpt.run.atomic_files import write_json, writing
from fedbbpt_benchmarks.bench.plan import Bench, Cell

OnCellDone = Callable[[Cell, str | None], None]  # called with a finished cell and its error, if any


def run(bench: Bench, out: Path, jobs: int, on_cell_done: OnCellDone) -> None:
    """Runs all unfinished cells, `jobs` at a time.

    However it ends, no process stays behind.

    Raises:
        RunError: the folder cannot be written, or a process died.
    """
    left = [cell for cell in bench.cells if not finished(out, cell)]
    serial = ((cell, run_cell(bench, out, cell)) for cell in left)
    with closing(serial if jobs == 1 else _parallel(bench, out, left, jobs)) as done:
        for cell, error in done:
            on_cell_done(cell, error)


def finished(out: Path, cell: Cell) -> bool:
    """Whether the cell's run is finished."""
    return (out / cell.path / "report.html").is_file()  # what a run writes last


def _parallel(bench: Bench, out: Path, cells: list[Cell], jobs: int) -> Iterator[tuple[Cell, str | None]]:
    for library in ("OMP", "MKL", "OPENBLAS"):  # what the workers inherit: cells do not fight over the cores
        os.environ[f"{library}_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // jobs))
    others = set(multiprocessing.active_children())
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), _end_with_parent) as pool:
        # The workers inherit that SIGINT is ignored: of a terminal's Ctrl-C, which reaches all, this process alone
        # makes something.
        previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            waiting = {pool.submit(run_cell, bench, out, cell): cell for cell in cells}
        finally:
            signal.signal(signal.SIGINT, previous)
        try:
            for done in as_completed(waiting):
                yield waiting[done], done.result()
        except BrokenProcessPool as e:
            raise RunError(
                f"a process of the bench died, maybe for want of memory; continue with --resume {out}, and fewer --jobs"
            ) from e
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            for worker in set(multiprocessing.active_children()) - others:
                worker.terminate()


def _end_with_parent() -> None:
    """Makes this process exit when its parent dies."""
    parent = multiprocessing.parent_process()

    def wait() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def run_cell(bench: Bench, out: Path, cell: Cell) -> str | None:
    """Trains or resumes a cell; returns the error message if it fails."""
    folder = out / cell.path
    trouble = folder / "error.json"
    try:
        config = bench.config(cell)
        train.resume(folder) if (folder / "config.toml").is_file() else train.train(config, folder)
    except Exception as e:  # whatever it is, the other cells go on
        text = one_line(str(e) if isinstance(e, FedbbptError) else f"{type(e).__name__}: {e}")
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
        write_json(trouble, {"error": text})
        return text
    trouble.unlink(missing_ok=True)
    return None
