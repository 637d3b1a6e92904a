"""The README's picture: `python -m fedbbpt_benchmarks.experiments.digits_picture RUN OUT.svg`.

RUN is a finished default run of the task `digits`, whose images are public. The first test image of each class is shown
as it is, with the model's own answer, and under the tuned prompt, with the answer of the tuned head. The bars are the
accuracies of the run's summary.
"""

import base64
import io
import json
from pathlib import Path
from typing import Any

import click
import numpy as np
from PIL import Image

from fedbbpt.commands.errors import Program
from fedbbpt.errors import ConfigError
from fedbbpt.run.again import load_best, reopen
from fedbbpt.templates import render
from fedbbpt.types import Float32

TASK = "digits"
BARS = {
    "zero_shot_accuracy": "the model alone",
    "readout_alone_accuracy": "a head alone",
    "test_accuracy": "prompt and head",
}


def picture(run: Path) -> str:
    """Draws a run as SVG; asks the model about ten images, twice.

    Raises:
        ConfigError: the run is one of another task.
    """
    summary = json.loads((run / "summary.json").read_text("utf-8"))
    if summary["task"] != TASK:
        raise ConfigError(f"the picture shows public images: expected a run of {TASK}, got one of {summary['task']}")
    simulation = reopen(run, None)
    _, best = load_best(run, simulation)
    test = simulation.task.load(simulation.backend.info.input_size).test
    shown = test.take(np.array([np.flatnonzero(test.labels == label)[0] for label in range(10)]))
    inputs, theta, weights = shown.batch(slice(None)).inputs, best.parameters["prompt"], best.parameters["readout"]
    prompted = simulation.prompt.apply(theta[None], inputs, simulation.prompt.features(inputs))
    own = _log_softmax(simulation.backend.query(inputs).scores)
    tuned = simulation.readout.log_probabilities(weights, simulation.backend.query(prompted).scores[:, None])
    rows = [
        {"name": "as scanned", "answers": "the model's answers", "digits": _digits(inputs, own, shown.labels)},
        {"name": "under the prompt", "answers": "prompt and head", "digits": _digits(prompted, tuned, shown.labels)},
    ]
    bars = [{"name": name, "accuracy": summary[key]} for key, name in BARS.items()]
    values = {"rows": rows, "bars": bars, "tests": len(test), "seed": summary["seed"]}
    return render("fedbbpt_benchmarks.experiments", "digits_picture.svg.j2", values) + "\n"


def _digits(images: Float32, log_probabilities: Float32, labels: Any) -> list[dict[str, Any]]:
    """What stands in a row: images (10, 3, h, w) in [0, 1], log-probabilities (10, 10) and labels (10,)."""
    found = []
    for image, log_p, label in zip(images, log_probabilities, labels, strict=True):
        buffer = io.BytesIO()
        Image.fromarray((image[0] * 255).round().astype(np.uint8)).save(buffer, "PNG", optimize=True)
        png = "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
        answer = int(log_p.argmax())
        of = {"label": int(label), "answer": answer, "right": answer == label}
        found.append({"png": png, "probability": float(np.exp(log_p[answer])), **of})
    return found


def _log_softmax(scores: Float32) -> Float32:
    shifted = scores - scores.max(1, keepdims=True)
    log_p: Float32 = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    return log_p


@click.command(cls=Program)
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
def main(run: Path, out: Path) -> None:
    """Draws the finished run of `digits` in RUN into the file OUT."""
    out.write_text(picture(run), encoding="utf-8")


if __name__ == "__main__":
    main()
