"""What every registered backend promises. Models are small and random, services are answered by this process."""

import hashlib
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
import tomli_w

from fedbbpt import registry
from fedbbpt.backend import Backend, BackendOutput
from fedbbpt.services import ServiceAnswer
from fedbbpt.services.ledger import Account
from fedbbpt.testing import ContractError, ToyBackend, check_backend, toy_provider
from fedbbpt.testing.backends import BACKEND_CHECKS, check_opening, check_sketch, open_backend

WORDS = ["red", "green", "blue", "a", "one", "film", "look", "sky"]
CLIENT = httpx2.Client


@cache
def numbers(text: str) -> tuple[float, ...]:
    """Three logits that depend on all of the text."""
    return tuple(float(byte) / 64 for byte in hashlib.sha256(text.encode()).digest()[:3])


def local_vit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The embedded model."""
    return {}


def hf_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A small BERT with random weights."""
    from fedbbpt_backends.torchvision_compat import ensure_importable

    ensure_importable()
    import torch
    import transformers

    (tmp_path / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]))
    transformers.BertTokenizerFast.from_pretrained(tmp_path).save_pretrained(tmp_path)
    torch.manual_seed(0)
    size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    config = transformers.BertConfig(vocab_size=5 + len(WORDS), max_position_embeddings=32, **size)
    transformers.BertModel(config).save_pretrained(tmp_path)
    return {"model": f"dir:{tmp_path}"}


def http_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """An endpoint for texts."""
    from fedbbpt_backends.http_service import JsonService

    def send(self: JsonService, encoded: list[str], key: str) -> list[ServiceAnswer]:
        return [ServiceAnswer(np.array(numbers(text), np.float32), tokens=3) for text in encoded]

    monkeypatch.setattr(JsonService, "send", send)
    described = {"url": "https://example.com/score", "modality": "text", "max_inputs_per_request": 4}
    scores = {"body": "{inputs}", "scores": "@", "kind": "logits", "classes": list(toy_provider().classes)}
    (tmp_path / "endpoint.toml").write_text(tomli_w.dumps(described | scores))
    return {"endpoint_file": str(tmp_path / "endpoint.toml")}


def openai(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A chat model that gives log-probabilities."""

    def answer(request: httpx2.Request) -> httpx2.Response:
        logits = numbers(json.dumps(json.loads(request.content)["messages"]))
        log_p = np.array(logits) - np.logaddexp.reduce(logits)
        listed = [
            {"token": word, "logprob": p, "bytes": None} for word, p in zip(toy_provider().classes, log_p, strict=True)
        ]
        content = [listed[0] | {"top_logprobs": listed}]
        message = {"role": "assistant", "content": listed[0]["token"]}
        choice = {"index": 0, "finish_reason": "stop", "message": message, "logprobs": {"content": content}}
        usage = {"prompt_tokens": 20, "completion_tokens": 1, "total_tokens": 21}
        said = {"id": "x", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice], "usage": usage}
        return httpx2.Response(200, json=said)

    def start(self: httpx2.Client, **_: object) -> None:
        CLIENT.__init__(self, transport=httpx2.MockTransport(answer))

    monkeypatch.setenv("OPENAI_API_KEY", "sk-0123456789")
    monkeypatch.setattr(httpx2, "Client", type("Mocked", (httpx2.Client,), {"__init__": start}))
    return {"top_logprobs": 20, "max_tokens_parameter": "max_tokens"}


OPTIONS: dict[str, Callable[..., dict[str, Any]]] = {
    "hf-text": hf_text, "http-json": http_json, "local-vit": local_vit, "openai": openai,
}  # fmt: skip


@pytest.fixture(params=registry.names("backends"))
def opened(request: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Callable[[], Backend], Any]:
    """How to open a backend, and its options."""
    monkeypatch.setenv("FEDBBPT_CACHE", str(tmp_path / "cache"))
    options = OPTIONS[request.param](tmp_path, monkeypatch)

    def opener() -> Backend:
        backend = open_backend(registry.load("backends", request.param), toy_provider(), **options)
        if backend.service_client is not None:
            backend.service_client.bill_to(Account("a run"))
        return backend

    return opener, options


@pytest.mark.parametrize("check", BACKEND_CHECKS, ids=lambda check: check.__name__)
def test_keeps_its_promises(opened: Any, check: Any) -> None:
    check(opened[0]())


def test_opened_again_it_is_the_same(opened: Any) -> None:
    check_opening(opened[0](), opened[0]())


def test_a_sketch_is_true(opened: Any) -> None:
    check_sketch(opened[0](), toy_provider(), **opened[1])


class Toy(ToyBackend):
    """Takes a provider, as backends do."""

    modalities = ("image",)

    def __init__(self, provider: Any, /) -> None:
        super().__init__()


class Moody(Toy):
    """Answers by the time of day."""

    def query(self, inputs: Any) -> BackendOutput:
        return BackendOutput(super().query(inputs).scores + np.float32(len(self.calls)))


class Hasty(Toy):
    """Leaves out what it cannot answer."""

    def query(self, inputs: Any) -> BackendOutput:
        return BackendOutput(super().query(inputs).scores[1:])


def test_the_toy_passes_and_what_breaks_a_promise_is_told_which() -> None:
    check_backend(Toy)
    with pytest.raises(ContractError, match="the same inputs in the same call give the same bits"):
        check_backend(Moody)
    with pytest.raises(ContractError, match=r"scores are of shape \(b, C\)"):
        check_backend(Hasty)
