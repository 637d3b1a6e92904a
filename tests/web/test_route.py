"""The way to a service, for both clients alike: through proxies, with certificates, and where it leads nowhere."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import certifi
import httpx2
import pytest
import requests

from fedbbpt.errors import ConfigError, FedbbptError, MissingExtra
from fedbbpt.services import RequestFailed
from fedbbpt.web import httpx2_transport, requests_adapter, route
from fedbbpt.web.route import Route

FAR = "http://far.example:81/v1"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
Ask = Callable[[Route], bytes]


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", *route.BUNDLES):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@contextmanager
def server(*turns: bytes) -> Iterator[tuple[str, list[bytes]]]:
    """Where it listens, and what it received; it sends one thing after the other."""
    received: list[bytes] = []

    def serve() -> None:
        with suppress(OSError):
            connection, _ = listening.accept()
            with connection:
                for turn in turns:
                    received.append(connection.recv(2**16))
                    connection.sendall(turn)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve)
        thread.start()
        yield f"127.0.0.1:{listening.getsockname()[1]}", received
    thread.join()


def ask_requests(way: Route) -> bytes:
    with requests.Session() as session:
        requests_adapter.configure_session(session, way, 1)
        try:
            return bytes(session.post(way.url.url, timeout=requests_adapter.timeouts(5)).content)
        except requests.RequestException as e:
            raise way.request_error(e) from e


def ask_httpx2(way: Route) -> bytes:
    with httpx2_transport.make_client(way, 5, 1) as client:
        try:
            return client.post(way.url.url).content
        except httpx2.HTTPError as e:
            raise way.request_error(e) from e


both = pytest.mark.parametrize("ask", [ask_requests, ask_httpx2])


@both
@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"])
@pytest.mark.parametrize("scheme", ["", "http://", "http://me:pw@"])
def test_a_proxy_is_asked(ask: Ask, variable: str, scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with server(ANSWER) as (address, received):
        monkeypatch.setenv(variable, scheme + address)
        assert ask(Route(FAR, "url")) == b"ok"
    assert received[0].startswith(b"POST http://far.example:81/v1 HTTP/1.1")
    assert (b"Proxy-Authorization: Basic" in received[0]) == ("@" in scheme)


@both
@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
def test_a_socks_proxy_looks_up_the_name(ask: Ask, scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with server(b"\x05\x00", b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00", ANSWER) as (address, received):
        monkeypatch.setenv("ALL_PROXY", f"{scheme}://{address}")
        assert ask(Route(FAR, "url")) == b"ok"
    assert b"far.example" in received[1]
    assert received[2].startswith(b"POST /v1 HTTP/1.1")


@pytest.mark.parametrize(
    ("url", "exempt"),
    [
        ("http://127.0.0.1:1/", ""),
        ("http://localhost:1/", ""),
        (FAR, "far.example"),
        (FAR, ".example"),
        (FAR, "*"),
        ("http://10.1.2.3/", "10.0.0.0/8"),
    ],
)
def test_what_is_near_or_exempt_is_asked_without_one(url: str, exempt: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "not even an address")
    monkeypatch.setenv("NO_PROXY", exempt)
    assert Route(url, "url").proxy is None


@pytest.mark.parametrize(
    ("proxy", "said"),
    [
        ("socks://127.0.0.1:1", "begins with none of http://, https://, socks5://, socks5h://"),
        ("socks4://127.0.0.1:1", "begins with none of"),
        ("http://127.0.0.1:80a0", "a port that is no number"),
        ("http://", "names no host"),
        ("http://me:pw@:80", "names no host"),
        ("http://127.0.0.1 :80", "holds blanks"),
        ("::", "a port that is no number"),
    ],
)
def test_a_proxy_that_is_none_is_named(proxy: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", proxy)
    with pytest.raises(ConfigError, match="ALL_PROXY must be a proxy's address") as error:
        Route(FAR, "url")
    assert said in str(error.value)
    assert "pw" not in str(error.value)


def test_what_socks_wants_may_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1")
    monkeypatch.setattr(route, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"proxy of ALL_PROXY.*fedbbpt\[socks\]"):
        Route(FAR, "url")


@both
@pytest.mark.parametrize("scheme", ["http", "socks5"])
def test_a_proxy_that_is_away_is_named_at_once(ask: Ask, scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", f"{scheme}://me:pw@127.0.0.1:9")
    with pytest.raises(ConfigError, match=rf"proxy {scheme}://127\.0\.0\.1:9 of ALL_PROXY .*NO_PROXY") as error:
        ask(Route(FAR, "url"))
    assert "pw" not in str(error.value)


@both
@pytest.mark.parametrize("url", [FAR, "https://far.example/"])
def test_a_proxy_that_wants_a_password_is_named(ask: Ask, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    refusal = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"
    with server(refusal) as (address, _):
        monkeypatch.setenv("ALL_PROXY", f"http://{address}")
        with pytest.raises(ConfigError, match="of ALL_PROXY wants a name and a password"):
            ask(Route(url, "url"))


@both
def test_a_host_that_does_not_exist_is_named_until_it_was_met(ask: Ask) -> None:
    way = Route("http://nowhere.invalid/", "base_url")
    with pytest.raises(ConfigError, match=r"nowhere\.invalid:80 cannot be found .* correct base_url"):
        ask(way)
    way.responded = True
    with pytest.raises(RequestFailed):
        ask(way)


@both
def test_a_service_without_tls_is_named(ask: Ask) -> None:
    with (
        server(b"HTTP/1.1 400 Bad Request\r\n\r\n") as (address, _),
        pytest.raises(ConfigError, match=r"does not speak TLS there; should base_url begin with http://\?"),
    ):
        ask(Route(f"https://{address}/", "base_url"))


@both
@pytest.mark.parametrize("said", [b"\x15\x03\x01\x00\x02\x02\x46", b"SSH-2.0-OpenSSH\r\n", b""])
def test_who_speaks_no_http_may_speak_tls(ask: Ask, said: bytes) -> None:
    for met, end in ((False, r"no HTTP; should base_url begin with https://\?$"), (True, "no HTTP$")):
        with server(said) as (address, _):
            way = Route(f"http://{address}/", "base_url")
            way.responded = met
            with pytest.raises(RequestFailed, match=rf"cut the connection, or .* {end}"):
                ask(way)


def test_a_certificate_that_is_not_trusted_is_named() -> None:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_message = "self-signed certificate"
    wrapped = requests.exceptions.SSLError(ssl.SSLError(error))
    way = Route("https://127.0.0.1:1/", "url")
    way.responded = True
    said = way.permanent_error(wrapped)
    assert isinstance(said, FedbbptError)
    assert "not trusted (self-signed certificate)" in str(said)
    assert "SSL_CERT_FILE" in str(said)


@pytest.mark.parametrize("variable", route.BUNDLES)
def test_certificates_that_cannot_be_used_are_named(
    variable: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(variable, str(tmp_path / "nothing"))
    with pytest.raises(ConfigError, match=rf"{variable} names .*nothing, which does not exist"):
        Route("https://far.example/", "url")
    (tmp_path / "empty").write_text("no certificate")
    monkeypatch.setenv(variable, str(tmp_path / "empty"))
    with pytest.raises(ConfigError, match=rf"{variable}=.*empty cannot be used \(it holds no certificates\)"):
        Route("https://far.example/", "url")
    assert Route("http://far.example/", "url").tls is None


def test_all_certificates_that_are_named_are_trusted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bundle = certifi.where()
    (tmp_path / "folder").mkdir()
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "folder"))
    nobody = Route("https://far.example/", "url").tls
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", bundle)
    both = Route("https://far.example/", "url").tls
    assert nobody is not None
    assert both is not None
    assert (nobody.cert_store_stats()["x509_ca"], both.verify_mode) == (0, ssl.CERT_REQUIRED)
    assert both.cert_store_stats()["x509_ca"] > 0
