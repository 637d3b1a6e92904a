"""The heads that are saved beside the student answer as the ones that were fitted."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from fedbbpt_backends.heads import load_head
from fedbbpt_benchmarks.experiments.pretrain import provider
from fedbbpt_benchmarks.images import ImageExample

COLOURS = {"blue": (0, 0, 200), "green": (0, 200, 0), "red": (200, 0, 0)}


def _features(inputs: np.ndarray) -> np.ndarray:
    """Mean colour and two numbers that tell nothing: as many weights a class as classes would hide a mix-up."""
    return np.concatenate([inputs.mean((2, 3)), inputs[:, :2, 0, 0] * 0 + 1], 1).astype(np.float32)


def test_a_saved_head_tells_what_it_was_fitted_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    pictures = [
        ImageExample(f"{name}/{i}", name, Image.fromarray((colour + rng.integers(0, 40, (8, 8, 3))).astype(np.uint8)))
        for name, colour in COLOURS.items()
        for i in range(10)
    ]
    network = SimpleNamespace(features=_features, model=SimpleNamespace(size=(8, 8)))
    monkeypatch.setattr(provider, "training_pictures", lambda: {"colours": pictures})
    monkeypatch.setattr(provider, "Network", lambda *_: network)
    provider.fit(tmp_path)
    head = load_head(str(tmp_path / "heads" / "colours.safetensors"), 5)
    assert head.classes == tuple(COLOURS)
    shown = np.stack([np.asarray(p.image).transpose(2, 0, 1) for p in pictures]).astype(np.float32) / 255
    assert [head.classes[i] for i in head(_features(shown)).argmax(1)] == [p.label for p in pictures]
