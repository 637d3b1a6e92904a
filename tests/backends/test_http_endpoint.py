"""Descriptions of endpoints: what a body becomes, and what is said about mistakes."""

from pathlib import Path
from typing import Any

import pytest
import tomli_w

from fedbbpt.errors import ConfigError, UnknownName
from fedbbpt_backends.http_endpoint import fill_body, read_endpoint
from fedbbpt_backends.http_service import JsonService

KEY = "sk-very-secret/0123"
EXAMPLE = Path(__file__).parents[2] / "examples" / "http_json.toml"
USUAL = {
    "url": "https://example.com/score",
    "modality": "text",
    "max_inputs_per_request": 4,
    "body": {"inputs": "{inputs}"},
    "scores": "results[*].scores",
    "kind": "logits",
    "classes": ["no", "yes"],
    "auth": {"variable": "MY_KEY"},
}


@pytest.fixture
def endpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file to describe an endpoint in, whose key is set."""
    monkeypatch.setenv("MY_KEY", KEY)
    return tmp_path / "endpoint.toml"


def described(endpoint: Path, **changed: Any) -> JsonService:
    """The usual endpoint with some keys changed; None leaves one out."""
    endpoint.write_text(tomli_w.dumps({key: value for key, value in (USUAL | changed).items() if value is not None}))
    return JsonService(read_endpoint(endpoint), ("no", "yes"), 1)


def test_the_example_is_right() -> None:
    assert read_endpoint(EXAMPLE).max_inputs_per_request == 16


def test_bodies() -> None:
    assert fill_body([{"text": "{input}", "n": 1}], ["a", "b"]) == [{"text": "a", "n": 1}, {"text": "b", "n": 1}]
    assert fill_body({"x": ["{inputs}"], "y": ["z", 2.5]}, ["a", "b"]) == {"x": [["a", "b"]], "y": ["z", 2.5]}
    assert fill_body("<{input}>", ["{input} {inputs}"]) == "<{input} {inputs}>"


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"score": "x"}, "unknown key of .*'score'.* Did you mean 'scores'"),
        ({"auth": {"variable": "MY_KEY", "perfix": ""}}, "unknown key of auth .* Did you mean 'prefix'"),
        ({"scores": None, "kind": None}, r"endpoint\.toml lacks scores, kind"),
        ({"max_inputs_per_request": 0}, "max_inputs_per_request: input should be greater than 0"),
        ({"url": "ftp://host"}, "'ftp://host' begins with none of http://, https://"),
        ({"url": "https://me:word@host/"}, "must not hold a name or a password"),
        ({"headers": {"X-Über": "1"}}, "names of ASCII letters"),
        ({"headers": {"X-Name": "grün"}}, "values of printable ASCII"),
        ({"auth": {"variable": "MY_KEY", "prefix": "a\n"}}, "values of printable ASCII"),
        ({"headers": {"authorization": "Bearer x"}}, "headers are public; leave out authorization"),
        ({"body": {"inputs": ["{input}", "x"]}}, "body must contain the inputs"),
        ({"modality": "image"}, "image = "),
        ({"kind": "embeddings"}, "dimensions belongs to"),
        ({"kind": "embeddings", "dimensions": 3}, "embeddings have no classes"),
        ({"classes": None}, "classes, in the order of the scores, or classes_path"),
        ({"classes": ["a", "a"]}, "a name twice"),
        ({"scores": "results[*"}, r"'results\[\*' is not a JMESPath"),
        ({"auth": {"variable": "NOT_SET"}}, "set the environment variable NOT_SET"),
    ],
)
def test_mistakes_in_an_endpoint_file(endpoint: Path, changed: dict[str, Any], error: str) -> None:
    with pytest.raises((ConfigError, UnknownName), match=error):
        described(endpoint, **changed)


def test_a_key_that_no_header_takes_is_not_shown(endpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", f"{KEY}\n{KEY}")
    with pytest.raises(ConfigError, match=r"MY_KEY holds no key: .* not several lines") as raised:
        described(endpoint)
    assert KEY not in str(raised.value)
