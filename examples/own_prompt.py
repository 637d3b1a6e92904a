"""A prompt of your own: a wash of colour over the image, which may change from edge to edge.

    python own_prompt.py

Checks the contract of prompts, then tunes the prompt for `digits` in a short run, and prints what that gains, with the
readout. In a package, register the class in setup.cfg, in the group fedbbpt.prompts, as `wash = own_prompt:Wash`; then
`fedbbpt train --prompt wash` finds it.
"""

import tempfile
from pathlib import Path

import numpy as np
from pydantic import PositiveFloat

from fedbbpt import registry
from fedbbpt.config import make_config
from fedbbpt.prompts import Prompt, add
from fedbbpt.run.train import train
from fedbbpt.testing import check_prompt


class Wash(Prompt):
    """Adds ε (a + b·y + c·x) to each channel, x and y from -1 to 1.

    Args:
        size: of the images (h, w).
        epsilon: by how much one unit of θ changes a pixel.
    """

    modalities = ("image",)

    def __init__(self, size: tuple[int, int], /, *, epsilon: PositiveFloat = 0.1) -> None:
        y, x = np.meshgrid(*(np.linspace(-1, 1, side) for side in size), indexing="ij")
        self._planes = epsilon * np.stack([np.ones(size), y, x])  # (3, h, w)
        self.dim = 9

    def apply(self, theta: np.ndarray, inputs: np.ndarray, features: None) -> np.ndarray:
        """See `Prompt`."""
        pictures = np.tensordot(theta.reshape(-1, 3, 3), self._planes, 1)  # (n, channels, h, w)
        return add(pictures.astype(np.float32), inputs)


def main() -> None:
    """Checks, registers and tunes the prompt."""
    check_prompt(Wash, epsilon=0.2)
    registry.register("prompts", "wash", Wash)
    data = {"clients": 2, "shots_per_class": 1, "validation_shots_per_class": 1, "test_limit": 30}
    algorithm = {"name": "fedavg", "local_steps": 2}
    settings = {"rounds": 2, "algorithm": algorithm, "prompt": {"name": "wash"}, "data": data}
    with tempfile.TemporaryDirectory() as folder:
        summary = train(make_config(settings), Path(folder) / "run")
    print(f"zero-shot accuracy {summary['zero_shot_accuracy']:.3f}, tuned {summary['test_accuracy']:.3f}")


if __name__ == "__main__":
    main()
