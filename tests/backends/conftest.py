"""Tiny image models, saved as Hugging Face saves them and loaded as backends load them; a service behind a file."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from fedbbpt_backends.http_endpoint import read_endpoint
from fedbbpt_backends.http_service import JsonService


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


@pytest.fixture
def server(recording_server: Any) -> Any:
    """An endpoint on this machine: the number of its letters is a text's logit for "yes"."""

    def score(body: Any) -> tuple[int, dict[str, str], Any]:
        results = [{"scores": [0, len(text)], "labels": ["no", "yes"]} for text in body["inputs"]]
        return 200, {}, {"results": results, "usage": {"total": 10}}

    recording_server.answer = score
    return recording_server


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> str:
    """The endpoint's key, which is in MY_KEY."""
    monkeypatch.setenv("MY_KEY", "sk-very-secret/0123")
    return "sk-very-secret/0123"


@pytest.fixture
def make_service(server: Any, key: str, tmp_path: Path) -> Callable[..., JsonService]:
    """`make_service(**keys)`: the service of the server's endpoint file, some of whose keys are changed."""
    usual = {
        "url": f"{server.url}/score",
        "modality": "text",
        "max_inputs_per_request": 4,
        "body": {"inputs": "{inputs}"},
        "scores": "results[*].scores",
        "kind": "logits",
        "classes": ["no", "yes"],
        "auth": {"variable": "MY_KEY"},
    }

    def build(**changed: Any) -> JsonService:
        (tmp_path / "endpoint.toml").write_text(tomli_w.dumps(usual | changed))
        return JsonService(read_endpoint(tmp_path / "endpoint.toml"), ("no", "yes"), 4)

    return build
