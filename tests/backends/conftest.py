"""Tiny image models, saved as Hugging Face saves them and loaded as backends load them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def save_image_model(tmp_path: Path) -> Callable[..., str]:
    """`save_image_model(model, processor, **config)`: saves it with other settings in its config; returns its name."""

    def save(model: Any, processor: dict[str, Any] | None, **config: Any) -> str:
        model.eval().save_pretrained(tmp_path)
        file = tmp_path / "config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | config))
        if processor is not None:
            (tmp_path / "preprocessor_config.json").write_text(json.dumps(processor))
        return f"dir:{tmp_path}"

    return save


@pytest.fixture(scope="session")
def network() -> Callable[..., Any]:
    """`network(name, weights)`: a model on the CPU, in float32; by default the embedded one."""
    from fedbbpt_backends.local_vit import Network

    return lambda name="embedded", weights=None: Network(name, weights and str(weights), "float32", "cpu", 512)
