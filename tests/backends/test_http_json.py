"""The backend for endpoints that a file describes: its requests, and its heads on embeddings."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import tomli_w

from fedbbpt.backend import Provider
from fedbbpt.data.texts import as_texts
from fedbbpt.errors import BackendError, ConfigError, MissingExtra
from fedbbpt.services import RequestFailed, ServiceAnswer
from fedbbpt.types import Dataset, Usage
from fedbbpt_backends.http_json import HttpJson
from fedbbpt_backends.http_service import JsonService

CLASSES = ("no", "yes")
EMBEDDINGS = {"kind": "embeddings", "classes": None, "dimensions": 2}
Build = Callable[..., HttpJson]


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> list[Sequence[str]]:
    """All that is sent; the answer to a text is its number of letters."""
    sent: list[Sequence[str]] = []

    def send(self: JsonService, encoded: Sequence[str], key: str) -> list[ServiceAnswer]:
        sent.append(encoded)
        return [ServiceAnswer(np.array([0, len(text)], np.float32), tokens=3) for text in encoded]

    monkeypatch.setattr(JsonService, "send", send)
    return sent


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Build:
    """A backend for the usual endpoint with some keys changed, a provider of four shots and a cache of its own."""
    monkeypatch.setenv("FEDBBPT_CACHE", str(tmp_path / "cache"))
    shots = Dataset(as_texts(["a", "aa", "aaaaaa", "aaaaaaa"]), np.array([0, 0, 1, 1]))
    provider = Provider(CLASSES, shots=lambda size: shots)
    usual = {
        "url": "https://example.com/score",
        "modality": "text",
        "max_inputs_per_request": 4,
        "body": "{inputs}",
        "scores": "@",
        "kind": "logits",
        "classes": list(CLASSES),
    }

    def built(head: str | None = None, provider: Provider = provider, **changed: Any) -> HttpJson:
        values = {key: value for key, value in (usual | changed).items() if value is not None}
        (tmp_path / "endpoint.toml").write_text(tomli_w.dumps(values))
        return HttpJson(provider, endpoint_file=str(tmp_path / "endpoint.toml"), classifier=head, retries=0)

    return built


def test_the_backend_asks_in_requests(requests: list[Sequence[str]], build: Build) -> None:
    backend = build()
    texts = ["a" * n for n in range(10)]
    answers = backend.query(as_texts(texts))
    assert answers.scores.tolist() == [[0, n] for n in range(10)]
    assert sorted(len(request) for request in requests) == [2, 4, 4]
    assert answers.tokens == 30
    assert (backend.info.classes, backend.info.scores, backend.info.max_inputs_per_request) == (CLASSES, "logits", 4)
    assert backend.info.input_size is None
    assert backend.info.max_batch % 4 == 0


def test_a_head_is_fitted_to_embeddings_of_the_shots(requests: list[Sequence[str]], build: Build) -> None:
    backend = build(**EMBEDDINGS)
    assert requests == []
    assert backend.setup_usage == Usage(4, 1)
    backend.set_up()
    assert requests == [["a", "aa", "aaaaaa", "aaaaaaa"]]
    scores = backend.query(as_texts(["aaa", "aaaaa", "aaaaaaaa"])).scores
    assert scores.argmax(1).tolist() == [0, 1, 1]
    assert len(requests) == 2
    assert (backend.info.classes, backend.info.scores) == (CLASSES, "logits")


def test_shots_without_an_answer_are_said(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    def lose(self: JsonService, encoded: Sequence[str], key: str) -> list[ServiceAnswer]:
        raise RequestFailed

    monkeypatch.setattr(JsonService, "send", lose)
    backend = build(**EMBEDDINGS)
    with pytest.raises(BackendError, match="4 of the provider's 4 shots got no answer"):
        backend.set_up()


def test_a_head_from_a_file(requests: list[Sequence[str]], build: Build, tmp_path: Path) -> None:
    weights = {"weight": np.array([[0, 1], [0, -1], [0, 0]], np.float32), "bias": np.array([0, 5, 0], np.float32)}
    safetensors.numpy.save_file(weights, tmp_path / "head.safetensors")
    backend = build(str(tmp_path / "head.safetensors"), **EMBEDDINGS)
    backend.set_up()
    assert backend.setup_usage == Usage()
    assert backend.query(as_texts(["aa"])).scores.tolist() == [[2, 3, 0]]
    assert backend.info.classes == ("0", "1", "2")


def test_heads_that_make_no_sense(build: Build) -> None:
    with pytest.raises(ConfigError, match=r"backend\.classifier is for embeddings"):
        build("prototypes")
    with pytest.raises(ConfigError, match="fitted to the provider's shots, and this task has none"):
        build(provider=Provider(CLASSES), **EMBEDDINGS)


def test_images_are_asked_for_in_the_described_size(build: Build) -> None:
    backend = build(modality="image", image={"width": 5, "height": 4})
    assert backend.info.input_size == (4, 5)
    assert backend.info.max_batch == 128
    backend = build(modality="image", image={"width": 5, "height": 4}, max_inputs_per_request=3)
    assert backend.info.max_batch == 129  # whole requests


def test_the_extra_is_named(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fedbbpt_backends.http_service", None)
    with pytest.raises(MissingExtra, match=r"fedbbpt\[http\]"):
        build()
