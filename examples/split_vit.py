"""Split learning over HTTP: this process has the images, the labels, head and tail of a ViT; another has its body.

    pip install './fedbbpt[local,serve]'
    python split_vit.py

Trains soft tokens, tail and classifier by SFPrompt, once over HTTP and once in this process alone, and compares the
parameters bit for bit.
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
def body_server() -> Iterator[str]:
    """Starts `fedbbpt serve-body`, which holds the body and nothing else of the model; yields its URL."""
    with subprocess.Popen([sys.executable, "-m", "fedbbpt", *SERVE], stdout=subprocess.PIPE, text=True) as server:
        try:
            if not (url := server.stdout.readline().strip()):
                raise SystemExit("the server did not start")
            yield url
        finally:
            server.terminate()


def train_sfprompt(folder: Path, **options: Any) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The summary of a run, and its best parameters by part of the model."""
    summary = train(make_config(SETTINGS | {"algorithm": {"name": "sfprompt", **options}}), folder)
    _, best = load_best(folder)
    return summary, dict(best.parameters)


def main() -> None:
    """Trains twice, compares the parameters, and prints accuracies and bytes."""
    with tempfile.TemporaryDirectory() as temporary:
        with body_server() as url:
            print(f"the body is served at {url}")
            over_http, http_parameters = train_sfprompt(Path(temporary) / "two-processes", body_url=url)
        in_process, local_parameters = train_sfprompt(Path(temporary) / "one-process")
    for part, values in http_parameters.items():
        same = values.tobytes() == local_parameters[part].tobytes()
        print(f"{part:12}{values.size:>10,} parameters  {'equal bit for bit' if same else 'DIFFERENT'}")
    for name, run in (("two processes", over_http), ("one process", in_process)):
        print(f"{name:14}test accuracy {run['test_accuracy']:.3f}", end="   ")
        print(f"{run['bytes_up']:,} bytes from the clients, {run['bytes_down']:,} to them")


if __name__ == "__main__":
    main()
