"""Who is answered: programs with the token, or, without one, programs on this machine and no web pages."""

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

TOKEN = "correct-horse"
LOCAL = ["127.0.0.1", "127.0.0.1:80", "localhost", "LOCALHOST:8000", "[::1]", "[::1]:8000", "127.1.2.3:"]
FOREIGN = ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "localhost.evil.example", "x@127.0.0.1"]
MALFORMED = ["", "::1", "0.0.0.0", "127.0.0.1:80:80", "127.0.0.1:x", "[::1", "127.0.0.1@x", "localhost/", "192.168.0.1"]


@pytest.fixture(scope="module")
def with_token(serving: Any, make_texts: Any) -> Iterator[str]:
    """The URL of a service with a token."""
    with serving(make_texts(), token=TOKEN) as url:
        yield url


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": TOKEN},
        {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": b"Bearer \xff\xfe"},
        {"Authorization": f"Bearer {TOKEN}x"},
        {"Authorization": "Bearer"},
    ],
)
def test_without_the_token_only_health_is_answered(with_token: str, headers: Any) -> None:
    with httpx2.Client(base_url=with_token, headers=headers) as client:
        assert client.get("/healthz").status_code == 200
        for path in ("/v1/models", "/metrics", "/openapi.json", "/nowhere"):
            assert client.get(path).status_code == 401
        refused = client.post("/v1/classify", json={"inputs": ["a"]})
    assert refused.status_code == 401
    assert refused.json()["error"]["code"] == "invalid_api_key"


def test_with_the_token_all_routes_are_answered(with_token: str) -> None:
    headers = {"Authorization": f"bearer {TOKEN}", "Origin": "http://localhost"}
    with httpx2.Client(base_url=with_token, headers=headers) as client:
        assert "fedbbpt_queries_total 0" in client.get("/metrics").text  # requests without the token reached no model
        assert client.get("/v1/models").status_code == 200
        assert client.post("/v1/classify", json={"inputs": ["a"]}).status_code == 200


def test_without_a_token_web_pages_are_refused(client: httpx2.Client, texts: Any) -> None:
    refused = client.post("/v1/classify", json={"inputs": ["a"]}, headers={"Origin": "http://elsewhere"})
    assert refused.status_code == 403
    assert texts.batches == []


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}],
    ids=lambda headers: "-".join(*headers.items()),
)
def test_web_pages_are_recognised_by_any_browser_header(client: httpx2.Client, headers: Any) -> None:
    assert client.get("/metrics", headers=headers).status_code == 403


def test_a_url_typed_into_a_browser_is_answered(client: httpx2.Client) -> None:
    assert client.get("/metrics", headers={"Sec-Fetch-Site": "none"}).status_code == 200


@pytest.mark.parametrize("path", ["/v1/models", "/metrics", "/healthz", "/nowhere"])
def test_without_a_token_only_local_hosts_are_answered(client: httpx2.Client, path: str) -> None:
    for host in LOCAL:
        assert client.get(path, headers={"Host": host}).status_code != 403
    for host in FOREIGN + MALFORMED:
        assert client.get(path, headers={"Host": host}).status_code in (400, 403)


def test_another_host_gets_a_reason(client: httpx2.Client) -> None:
    refused = client.get("/v1/models", headers={"Host": "evil.example"})
    assert refused.status_code == 403
    assert refused.json()["error"]["code"] == "host"


def test_with_a_token_any_host_is_answered(with_token: str) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}", "Host": "models.example"}
    assert httpx2.get(f"{with_token}/v1/models", headers=headers).status_code == 200
