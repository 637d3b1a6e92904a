"""Requests drawn from the service's own description, and from what is near it: it never fails, and says what it may."""

import base64
import json
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from fedbbpt.serve.app import POST_ROUTES

PNG = BytesIO()
Image.new("RGB", (3, 2), "red").save(PNG, "png")
PICTURE = base64.b64encode(PNG.getvalue()).decode()

strings = st.one_of(st.text(max_size=20), st.sampled_from([PICTURE, f"data:image/png;base64,{PICTURE}", "a", "lost"]))
anything = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), strings),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(strings, inner, max_size=3)),
    max_leaves=8,
)


def _drawn(schema: dict[str, Any], known: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values that a JSON schema allows, of the parts of JSON Schema that the description uses."""
    if "$ref" in schema:
        return st.deferred(lambda: _drawn(known[schema["$ref"].rpartition("/")[2]], known))
    if options := schema.get("anyOf") or schema.get("oneOf"):
        return st.one_of(*(_drawn(option, known) for option in options))
    if "const" in schema or "enum" in schema:
        return st.sampled_from(schema.get("enum") or [schema["const"]])
    kind = schema.get("type")
    if kind == "integer":
        low = schema.get("minimum", schema.get("exclusiveMinimum"))
        return st.integers(low if "minimum" in schema or low is None else low + 1, schema.get("maximum"))
    if kind == "number":
        return st.floats(schema.get("minimum"), schema.get("maximum"), allow_nan=False, allow_infinity=False)
    if kind == "array" and "prefixItems" in schema:
        return st.tuples(*(_drawn(one, known) for one in schema["prefixItems"])).map(list)
    if kind == "array":
        return st.lists(_drawn(schema["items"], known), min_size=schema.get("minItems", 0), max_size=6)
    if kind == "object":
        parts = {name: _drawn(part, known) for name, part in schema["properties"].items()}
        required = schema.get("required", [])
        optional = {name: part for name, part in parts.items() if name not in required}
        return st.fixed_dictionaries({name: parts[name] for name in required}, optional=optional)
    return {"string": strings, "boolean": st.booleans(), "null": st.none()}[kind or "null"]


def _bodies(description: dict[str, Any], path: str) -> st.SearchStrategy[bytes]:
    """Bodies as described; with one field that may be anything; and any JSON, or no JSON at all."""
    known = description["components"]["schemas"]
    content = description["paths"][path]["post"]["requestBody"]["content"]
    schema = content["application/json"]["schema"]
    described = _drawn(schema, known)
    fields = sorted(known[schema["$ref"].rpartition("/")[2]]["properties"])
    changed = st.tuples(described, st.sampled_from([*fields, "more"]), anything).map(lambda t: t[0] | {t[1]: t[2]})
    encoded = st.one_of(described, described, changed, anything).map(lambda value: json.dumps(value).encode())
    return st.one_of(encoded, encoded, encoded, st.binary(max_size=40))


@pytest.fixture(scope="module", params=[None, (8, 8)], ids=["texts", "images"])
def client(request: pytest.FixtureRequest, serving: Any, make_texts: Any) -> Iterator[httpx2.Client]:
    with serving(make_texts(size=request.param)) as where, httpx2.Client(base_url=where) as opened:
        yield opened


@pytest.mark.parametrize("path", POST_ROUTES)
def test_every_reply_is_as_described(client: httpx2.Client, path: str) -> None:
    description = client.get("/openapi.json").json()
    operation = description["paths"][path]["post"]
    seen = set()

    @settings(max_examples=100, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(body=_bodies(description, path), key=st.sampled_from([None, None, "a", "b"]))
    def ask(body: bytes, key: str | None) -> None:
        reply = client.post(path, content=body, headers={} if key is None else {"Idempotency-Key": key})
        assert str(reply.status_code) in operation["responses"]
        assert reply.status_code < 500
        if reply.status_code == 200:
            POST_ROUTES[path].response_schema.model_validate_json(reply.content)
        else:
            assert set(reply.json()["error"]) == {"message", "type", "param", "code"}
        seen.add(reply.status_code)

    ask()
    assert 400 in seen
    assert client.get("/healthz").status_code == 200


def test_what_is_described_is_there_and_nothing_else(client: httpx2.Client) -> None:
    description = client.get("/openapi.json").json()
    for path, operations in description["paths"].items():
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
            status = client.request(method, path).status_code
            if method.lower() in operations:
                assert str(status) in operations[method.lower()]["responses"]
            else:
                assert status == 405


def test_the_questions_that_are_described_are_answered(client: httpx2.Client) -> None:
    """The fuzz would be idle if nothing that it draws were ever answered."""
    assert client.post("/v1/classify", json={"inputs": [PICTURE]}).status_code == 200
    assert client.post("/v1/embeddings", json={"input": PICTURE}).status_code == 200
