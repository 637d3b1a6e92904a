"""What `http-json` was told, as a cache of `requests_cache`: who finds it, how long it is known, what it holds."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
import tomli_w
from requests.adapters import BaseAdapter

from fedbbpt.backend import Provider
from fedbbpt.data.texts import as_texts
from fedbbpt.errors import BackendError, BudgetError
from fedbbpt.services import request
from fedbbpt.services.client import FILE
from fedbbpt.services.ledger import Account, Budget
from fedbbpt_backends.http_json import HttpJson

URL = "http://127.0.0.1:9/score"
KEY = "sk-very-secret-0123"
TEXTS = as_texts(["a", "bcd", "ef"])
NO_LIMITS = Budget()
Opened = Callable[..., HttpJson]


class Endpoint(BaseAdapter):
    """In place of a network: the number of its letters is a text's logit for yes, and a query costs a dollar."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[list[str]] = []
        self.answer: Callable[[str], Any] = lambda text: [0, len(text)]

    def send(self, request: requests.PreparedRequest, *_: Any, **__: Any) -> requests.Response:
        assert request.headers["Authorization"] == f"Bearer {KEY}"
        texts = json.loads(request.body or b"")["inputs"]
        self.asked.append(texts)
        response = requests.Response()
        response.status_code, response.url, response.request = 200, str(request.url), request
        response.headers.update({"Content-Type": "application/json", "Set-Cookie": "a-secret=1", "ETag": "x"})
        results = [{"scores": self.answer(text)} for text in texts]
        response._content = json.dumps({"results": results, "total": len(texts), "echo": KEY}).encode()
        return response

    def close(self) -> None:
        pass


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Endpoint:
    monkeypatch.setenv("FEDBBPT_CACHE", str(tmp_path))
    monkeypatch.setenv("MY_KEY", KEY)
    monkeypatch.setattr(request, "MIN_BACKOFF", 0.001)
    return Endpoint()


@pytest.fixture
def opened(endpoint: Endpoint, tmp_path: Path) -> Opened:
    def make(changed: dict[str, Any] | None = None, limits: Budget = NO_LIMITS, **options: Any) -> HttpJson:
        described = {
            "url": URL,
            "modality": "text",
            "max_inputs_per_request": 2,
            "body": {"inputs": "{inputs}"},
            "scores": "results[*].scores",
            "tokens_path": "total",
            "kind": "logits",
            "classes": ["no", "yes"],
            "auth": {"variable": "MY_KEY"},
        }
        (tmp_path / "d.toml").write_text(tomli_w.dumps(described | (changed or {})))
        provider = Provider(("no", "yes"))
        backend = HttpJson(
            provider, endpoint_file=str(tmp_path / "d.toml"), usd_per_million_tokens=[1e6, 0.0], retries=1, **options
        )
        backend.session.mount("http://", endpoint)
        backend.service_client.bill_to(Account("a run", limits))
        return backend

    return make


def asked_again(endpoint: Endpoint, backend: HttpJson) -> int:
    before = sum(map(len, endpoint.asked))
    assert backend.query(TEXTS).scores.tolist() == [[0, 1], [0, 3], [0, 2]]
    return sum(map(len, endpoint.asked)) - before


def test_what_was_answered_is_a_response_in_the_cache(endpoint: Endpoint, opened: Opened) -> None:
    backend = opened()
    assert asked_again(endpoint, backend) == 3
    assert asked_again(endpoint, opened()) == 0
    cache = backend.session.cache
    assert len(cache.responses) == 2
    assert cache.urls() == [URL]
    assert cache.contains(request=requests.Request("POST", URL, json={"inputs": ["a", "bcd"]}))
    assert not cache.contains(request=requests.Request("POST", URL, json={"inputs": ["a"]}))
    (first, *_) = cache.filter()
    assert first.json()["results"]
    assert (first.status_code, first.url, first.request.method) == (200, URL, "POST")
    assert backend.service_client.billed()[:3] == (3, 2, 3)


def test_what_is_deleted_is_asked_again(endpoint: Endpoint, opened: Opened) -> None:
    backend = opened({"max_inputs_per_request": 1})
    asked_again(endpoint, backend)
    cache = backend.session.cache
    cache.delete(requests=[requests.Request("POST", URL, json={"inputs": ["bcd"]})])
    assert asked_again(endpoint, backend) == 1
    assert endpoint.asked[-1] == ["bcd"]
    cache.delete(*list(cache.responses)[:2])
    assert asked_again(endpoint, backend) == 2
    cache.clear()
    assert len(cache.responses) == 0
    assert asked_again(endpoint, backend) == 3


def test_what_has_expired_is_asked_again(endpoint: Endpoint, opened: Opened) -> None:
    backend = opened(expire_after=100)
    asked_again(endpoint, backend)
    assert asked_again(endpoint, backend) == 0
    cache = backend.session.cache
    cache.reset_expiration(0.001)
    time.sleep(0.002)
    assert len(list(cache.filter(valid=False, expired=True))) == 2
    assert asked_again(endpoint, backend) == 3
    cache.delete(expired=True)
    assert asked_again(endpoint, backend) == 0


def test_with_only_if_cached_nobody_is_asked(endpoint: Endpoint, opened: Opened) -> None:
    asked_again(endpoint, opened())
    replay = opened(only_if_cached=True)
    assert asked_again(endpoint, replay) == 0
    with pytest.raises(BackendError, match=r"the cache lacks a response of .*; leave out -o backend\.only_if_cached"):
        replay.query(as_texts(["another"]))
    assert len(endpoint.asked) == 2
    assert replay.service_client.billed().queries == 3


def test_a_known_response_is_read_in_another_way_for_nothing(endpoint: Endpoint, opened: Opened) -> None:
    asked_again(endpoint, opened())
    other = opened({"scores": "results[*].scores[::-1]"})
    assert other.query(TEXTS).scores.tolist() == [[1, 0], [3, 0], [2, 0]]
    assert len(endpoint.asked) == 2
    assert other.service_client.billed()[:3] == (3, 2, 3)


def test_a_known_response_that_lacks_what_is_wanted_is_asked_for_anew(endpoint: Endpoint, opened: Opened) -> None:
    asked_again(endpoint, opened())
    endpoint.answer = lambda text: {"mine": [0, len(text)]}
    assert opened({"scores": "results[*].scores.mine"}).query(TEXTS).scores[1].tolist() == [0, 3]
    assert len(endpoint.asked) == 4


def test_other_tenants_and_other_endpoints_share_nothing(
    endpoint: Endpoint, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = opened()
    asked_again(endpoint, backend)
    key = next(iter(backend.session.cache.responses))
    monkeypatch.setenv("MY_KEY", "another")
    for other in (opened(), opened({"url": f"{URL}/other"})):
        assert len(other.session.cache.responses) == 0
        assert not other.session.cache.contains(key)
        other.session.cache.clear()
    assert backend.session.cache.contains(key)


def test_no_secret_and_no_input_is_kept(endpoint: Endpoint, opened: Opened, tmp_path: Path) -> None:
    opened().query(as_texts(["a very private text"]))
    written = b"".join(path.read_bytes() for path in tmp_path.glob(f"{FILE}*"))
    assert b"results" in written
    assert not any(secret in written for secret in (KEY.encode(), b"a-secret", b"very private"))


def test_a_limit_holds_for_what_is_asked(endpoint: Endpoint, opened: Opened) -> None:
    with pytest.raises(BudgetError):
        opened(limits=Budget(cost=10)).query(TEXTS)
    assert not endpoint.asked
