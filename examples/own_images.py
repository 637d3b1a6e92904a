"""Tunes a prompt for your own images from Python: six clients, and the model that comes with the package.

    python own_images.py [FOLDER]

FOLDER holds one subfolder of images per class. Without it, the script draws circles and squares into a temporary one.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from fedbbpt.config import make_config
from fedbbpt.run.train import train

SHAPES = {"circle": "ellipse", "square": "rectangle"}


def draw_shapes(root: Path, count: int = 60) -> None:
    """Writes `count` PNGs per class: dark shapes of random place, size and shade on a noisy background."""
    rng = np.random.default_rng(0)
    for name, method in SHAPES.items():
        (root / name).mkdir(parents=True)
        for i in range(count):
            image = Image.fromarray(rng.integers(120, 200, (48, 48, 3), dtype=np.uint8))
            x, y, side = (int(v) for v in rng.integers((4, 4, 14), (20, 20, 26)))
            shade = int(rng.integers(0, 110))
            getattr(ImageDraw.Draw(image), method)((x, y, x + side, y + side), fill=(shade, shade, shade))
            image.save(root / name / f"{i:03d}.png")


def main() -> None:
    """Trains for five rounds and prints test accuracies without the prompt, with the readout alone, and with both."""
    with tempfile.TemporaryDirectory() as temporary:
        if len(sys.argv) > 1:
            images = Path(sys.argv[1])
        else:
            images = Path(temporary) / "shapes"
            draw_shapes(images)
        settings = {
            "rounds": 5,
            "data": {"clients": 6, "shots_per_class": 16},  # training examples per class, over all clients
            "task": {"name": f"folder:{images}", "provider_shots_per_class": 2},  # the model owner's own examples
        }
        summary = train(make_config(settings), Path(temporary) / "run")
    for key in ("zero_shot_accuracy", "readout_alone_accuracy", "test_accuracy", "queries"):
        print(f"{key:25}{summary[key]:.3f}" if isinstance(summary[key], float) else f"{key:25}{summary[key]:,}")


if __name__ == "__main__":
    main()
