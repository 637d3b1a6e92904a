"""Addresses, before anybody is asked."""

import pytest

from fedbbpt.errors import ConfigError
from fedbbpt.web.urls import is_loopback, join_path, parse_service_url


@pytest.mark.parametrize(
    ("url", "host", "port", "local"),
    [
        ("http://127.0.0.1:8000/v1", "127.0.0.1", 8000, True),
        (" https://api.example.com/v1 ", "api.example.com", 443, False),
        ("HTTP://LocalHost", "localhost", 80, True),
        ("http://[::1]:81/", "::1", 81, True),
        ("https://bücher.example/?api-version=1", "bücher.example", 443, False),
    ],
)
def test_an_address_in_its_parts(url: str, host: str, port: int, local: bool) -> None:
    address = parse_service_url(url, "base_url")
    assert (address.host, address.port, address.is_local) == (host, port, local)
    assert address.url == url.strip()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "it is empty"),
        ("127.0.0.1:8000/v1", "has no scheme: is it http://127.0.0.1:8000/v1"),
        ("localhost", "has no scheme"),
        ("htp://host", "begins with none of http://, https://"),
        ("socks5://host", "begins with none of"),
        ("http://host:80a0/v1", "'http://host:80a0/v1' has a port that is no number"),
        ("http://host:0/", "a port that is no number"),
        ("http://host:65536/", "a port that is no number"),
        ("http:///v1", "names no host"),
        ("http://:80/v1", "names no host"),
        ("http://ho st/v1", "holds blanks"),
        ("http://host/v1\n/x", "holds blanks"),
        ("http://host/\x1b[2J", "holds blanks or control characters"),
        ("http://[::1", "a host that is none"),
        ("http://a..b", "a host with a part that is empty"),
        ("http://" + "a" * 64 + ".de", "too long"),
        ("http://host/v1#part", "must end before its #"),
        ("https://host/v1?api_key=abc", "must not hold a secret (api_key=…)"),
        ("https://host/v1?key=abc", "must not hold a secret (key=…)"),
        ("https://host/v1?subscription-key=abc", "must not hold a secret"),
        ("https://me:pw@host/v1", "must not hold a name or a password before https://host/v1"),
        ("me:pw@host/v1", "has no scheme: is it http://host/v1"),
        ("https://me:pw@host:x/v1", "'https://host:x/v1' has a port"),
    ],
)
def test_what_is_wrong_is_said_without_a_secret(url: str, said: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse_service_url(url, "base_url")
    message = str(error.value)
    assert message.startswith("base_url must ")
    assert said in message
    assert message.isprintable()
    assert not any(secret in message for secret in ("pw", "abc"))


def test_a_query_stays_at_the_end() -> None:
    assert join_path("https://host/openai/v1/?api-version=2026-01", "/chat/completions") == (
        "https://host/openai/v1/chat/completions?api-version=2026-01"
    )
    assert join_path("http://host:1/v1", "/embeddings") == "http://host:1/v1/embeddings"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_loopback(host: str) -> None:
    assert is_loopback(host)
