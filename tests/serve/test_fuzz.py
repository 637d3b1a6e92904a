"""Random requests, valid by the OpenAPI document or nearly so, never fail and get only documented responses."""

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
ENCODED = base64.b64encode(PNG.getvalue()).decode()

strings = st.one_of(st.text(max_size=20), st.sampled_from([ENCODED, f"data:image/png;base64,{ENCODED}", "a", "lost"]))
anything = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), strings),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(strings, inner, max_size=3)),
    max_leaves=8,
)


def _values(schema: dict[str, Any], known: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values that a JSON schema allows, for the keywords that the document uses."""
    if "$ref" in schema:
        return st.deferred(lambda: _values(known[schema["$ref"].rpartition("/")[2]], known))
    if options := schema.get("anyOf") or schema.get("oneOf"):
        return st.one_of(*(_values(option, known) for option in options))
    if "const" in schema or "enum" in schema:
        return st.sampled_from(schema.get("enum") or [schema["const"]])
    kind = schema.get("type")
    if kind == "integer":
        low = schema.get("minimum", schema.get("exclusiveMinimum"))
        return st.integers(low if "minimum" in schema or low is None else low + 1, schema.get("maximum"))
    if kind == "number":
        return st.floats(schema.get("minimum"), schema.get("maximum"), allow_nan=False, allow_infinity=False)
    if kind == "array" and "prefixItems" in schema:
        return st.tuples(*(_values(one, known) for one in schema["prefixItems"])).map(list)
    if kind == "array":
        return st.lists(_values(schema["items"], known), min_size=schema.get("minItems", 0), max_size=6)
    if kind == "object":
        parts = {name: _values(part, known) for name, part in schema["properties"].items()}
        required = schema.get("required", [])
        optional = {name: part for name, part in parts.items() if name not in required}
        return st.fixed_dictionaries({name: parts[name] for name in required}, optional=optional)
    return {"string": strings, "boolean": st.booleans(), "null": st.none()}[kind or "null"]


def _bodies(document: dict[str, Any], path: str) -> st.SearchStrategy[bytes]:
    """Valid bodies; bodies with one arbitrary field; any JSON; and bytes that are not JSON."""
    known = document["components"]["schemas"]
    content = document["paths"][path]["post"]["requestBody"]["content"]
    schema = content["application/json"]["schema"]
    valid = _values(schema, known)
    fields = sorted(known[schema["$ref"].rpartition("/")[2]]["properties"])
    changed = st.tuples(valid, st.sampled_from([*fields, "more"]), anything).map(lambda t: t[0] | {t[1]: t[2]})
    encoded = st.one_of(valid, valid, changed, anything).map(lambda value: json.dumps(value).encode())
    return st.one_of(encoded, encoded, encoded, st.binary(max_size=40))


@pytest.fixture(scope="module", params=[None, (8, 8)], ids=["texts", "images"])
def client(request: pytest.FixtureRequest, serving: Any, make_texts: Any) -> Iterator[httpx2.Client]:
    # No connection is kept: the server may close an idle one just when a request goes out, on a machine that is busy.
    limits = httpx2.Limits(max_keepalive_connections=0)
    with serving(make_texts(size=request.param)) as url, httpx2.Client(base_url=url, limits=limits) as opened:
        yield opened


@pytest.mark.parametrize("path", POST_ROUTES)
def test_every_response_is_documented(client: httpx2.Client, path: str) -> None:
    document = client.get("/openapi.json").json()
    operation = document["paths"][path]["post"]
    seen = set()

    @settings(max_examples=100, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(body=_bodies(document, path), key=st.sampled_from([None, None, "a", "b"]))
    def send(body: bytes, key: str | None) -> None:
        response = client.post(path, content=body, headers={} if key is None else {"Idempotency-Key": key})
        assert str(response.status_code) in operation["responses"]
        assert response.status_code < 500
        if response.status_code == 200:
            POST_ROUTES[path].response_schema.model_validate_json(response.content)
        else:
            assert set(response.json()["error"]) == {"message", "type", "param", "code"}
        seen.add(response.status_code)

    send()
    assert 400 in seen
    assert client.get("/healthz").status_code == 200


def test_documented_operations_exist_and_no_others(client: httpx2.Client) -> None:
    document = client.get("/openapi.json").json()
    for path, operations in document["paths"].items():
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
            status = client.request(method, path).status_code
            if method.lower() in operations:
                assert str(status) in operations[method.lower()]["responses"]
            else:
                assert status == 405


def test_valid_requests_are_answered(client: httpx2.Client) -> None:
    """Else the random requests above would test nothing but refusals."""
    assert client.post("/v1/classify", json={"inputs": [ENCODED]}).status_code == 200
    assert client.post("/v1/embeddings", json={"input": ENCODED}).status_code == 200
