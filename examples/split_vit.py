"""A vision transformer in two processes: this one has pictures, labels, head and tail; the other one has the body.

python split_vit.py   (pip install './fedbbpt[local,serve]')

Trains soft tokens and the tail by SFPrompt, once over HTTP and once in this process alone, and compares the bits.
"""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from fedbbpt.config import make_config
from fedbbpt.run.checkpoint import load_best
from fedbbpt.run.train import train

SETTINGS = {"rounds": 2, "data": {"clients": 2, "shots_per_class": 2, "test_limit": 20}}
SERVE = ["serve-body", "--backend", "local-vit", "--port", "0"]


@contextmanager
def body_elsewhere() -> Iterator[str]:
    """A second process that holds the body, and nothing else of the model; gives its URL."""
    with subprocess.Popen([sys.executable, "-m", "fedbbpt", *SERVE], stdout=subprocess.PIPE, text=True) as server:
        try:
            if not (url := server.stdout.readline().strip()):
                raise SystemExit("the second process did not start")
            yield url
        finally:
            server.terminate()


def trained(folder: Path, **options: Any) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The summary of a run, and the parameters that it kept."""
    summary = train(make_config(SETTINGS | {"algorithm": {"name": "sfprompt", **options}}), folder)
    _, kept = load_best(folder)
    return summary, dict(kept.parameters)


def main() -> None:
    """Trains twice and prints what is the same, and what was sent."""
    with tempfile.TemporaryDirectory() as temporary:
        with body_elsewhere() as url:
            print(f"the body answers at {url}")
            there, apart = trained(Path(temporary) / "two-processes", body_url=url)
        here, together = trained(Path(temporary) / "one-process")
    for part, values in apart.items():
        same = values.tobytes() == together[part].tobytes()
        print(f"{part:12}{values.size:>10,} parameters  {'equal bit for bit' if same else 'DIFFERENT'}")
    for name, run in (("two processes", there), ("one process", here)):
        print(f"{name:14}test accuracy {run['test_accuracy']:.3f}", end="   ")
        print(f"{run['bytes_up']:,} bytes from the clients, {run['bytes_down']:,} to them")


if __name__ == "__main__":
    main()
